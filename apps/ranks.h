// Several processes that train one network: `mpirun -n 4 thorax train ...`. Rank 0 is the command
// as it always is; it reads, checks, validates, writes and speaks. The others wait for the
// trainings that it begins and compute their share of every step.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "apps/command.h"
#include "apps/settings.h"
#include "data/dataset.h"
#include "engine/dist/communicator.h"
#include "engine/train/trainer.h"

namespace thorax::app {

// This process's ranks; one process where no launcher has started several.
Communicator& ranks();

// Joins the other ranks where mpirun or srun has started several processes. Throws Error
// "[dist] ..." when this build cannot, or MPI sees other ranks than the launcher has started.
void join_ranks();
// What ranks other than 0 do until rank 0 ends.
void follow_first_rank();
// Throws Error "[dist] ..." for a command that several ranks cannot share.
void check_command_for_ranks(const std::string& name);
// The last call of every rank: ends the others, at once if they are in the middle of something.
void leave_ranks(int exit_code);

// On rank 0: the others begin this training, too. An error of any rank in what follows, up to the
// end of train_together, is thrown on rank 0 with the name of the rank.
void begin_together(const TrainSettings& settings, const std::vector<std::string>& classes,
                    const std::vector<Sample>& train, const Compute& compute);
void set_up_together(const std::function<void()>& set_up);
TrainResult train_together(Trainer& trainer);

// Of --device cuda every rank of a machine takes another GPU; otherwise `device` itself.
Device own_device(Device device, const std::string& asked);
// Threads where --threads does not say: the machine's, shared by its ranks.
void share_threads();

// --pieces where it is not given: the smallest divisor of the batch that gives every rank a piece.
// Throws Error "[dist] ..." when there are more ranks than images.
std::int64_t pieces_for(std::int64_t batch, int rank_count);

}  // namespace thorax::app
