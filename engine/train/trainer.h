// The training loop: steps, epochs, checkpoints, resume.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "engine/autograd/variable.h"
#include "engine/dist/communicator.h"
#include "engine/nn/module.h"
#include "engine/optim/loss_scale.h"
#include "engine/optim/optimizer.h"
#include "engine/optim/schedule.h"
#include "engine/train/batch_source.h"
#include "engine/train/stop_signal.h"

namespace thorax {

struct TrainerOptions {
  std::int64_t epochs = 1;
  std::int64_t max_steps = 0;  // optimizer steps in all; 0 = as the epochs give
  int accumulate = 1;          // batches whose gradients make one optimizer step
  // So many of the source's batches in a row are the pieces of one batch: each is computed by
  // itself, and what a step takes from them is summed in a fixed tree (engine/dist/tree_sum.h).
  // With 1, the batches of a step are added one after another.
  int pieces = 1;
  // Ranks that share out the pieces; none: this process alone. The bits are the same for any number
  // of them. Rank 0 validates and writes; the others have neither folder nor validation.
  Communicator* ranks = nullptr;
  double clip_norm = 0;  // limit of the gradient norm; 0 = none
  // For gradients in float16: the loss is scaled, a step whose gradients overflow is left out.
  std::optional<LossScaleOptions> loss_scale;
  // Steps are captured and replayed as a graph (engine/train/graph_step.h): a GPU only, one batch a
  // step. The loss callback is then called for a few steps and not for the others, so that it may
  // not note(), nor draw random numbers but through TrainerCallbacks::number_on_device. Changes no
  // bits: a run may be resumed with or without.
  bool graph = false;
  std::uint64_t seed = 0;  // recorded; what draws random numbers is given it by the caller

  // Holds last.safetensors (+ last.prev.safetensors), best.safetensors and metrics.jsonl. Empty:
  // the run leaves nothing behind.
  std::filesystem::path folder;
  bool resume = false;                // go on from the folder's checkpoint if there is one
  std::int64_t checkpoint_steps = 0;  // also every so many steps
  double checkpoint_seconds = 0;      // also after so many seconds
  bool log_steps = false;             // a line in metrics.jsonl for every step, too

  std::string best_metric;  // its best epoch goes to best.safetensors; empty = no such file
  bool best_is_higher = true;
  // The run ends after so many epochs in a row of which none was the best by best_metric; 0 =
  // never.
  std::int64_t early_stop = 0;
  // Decay of the moving average of the weights (engine/optim/weight_average.h); 0 = none. The
  // averaged network is validated, is what best.safetensors and a checkpoint's "model." hold, and
  // what a finished run leaves in the module.
  double average_decay = 0;

  // What made this run. A checkpoint written under another one is refused.
  nlohmann::json config = nlohmann::json::object();
  // Keys of `config` that checkpoints of earlier versions hold and that decide nothing.
  std::vector<std::string> not_compared = {};
  // Goes into the metadata of last and best, so that each can be used alone.
  std::map<std::string, std::string> texts;
};

struct TrainProgress {
  std::int64_t epoch = 0, epochs = 0;   // the running one from 0, and how many
  std::int64_t batch = 0, batches = 0;  // of the source, finished in this epoch, and how many
  std::int64_t step = 0, steps = 0;     // optimizer steps finished, and how many in all
  double loss = 0, mean_loss = 0;       // of this step; of this epoch so far
  double lr = 0;
  double grad_norm = 0;                             // before clipping; 0 when clipping is off
  double loss_scale = 1;                            // of the next step
  std::int64_t samples = 0;                         // in this step
  double samples_per_second = 0, seconds_left = 0;  // in training, since run() began
};

// Told how a run goes. Metrics have the names that metrics.jsonl has.
class TrainObserver {
 public:
  virtual ~TrainObserver() = default;
  virtual void on_step(const TrainProgress&) {}
  virtual void on_epoch(std::int64_t /*epoch*/, const std::map<std::string, double>& /*metrics*/) {}
  // Things worth knowing: a resume, a bad checkpoint.
  virtual void on_message(const std::string&) {}
};

struct TrainerCallbacks {
  // Mean loss over the batch's samples, as a single element with history. The batch's tensors are
  // on the model's device and may be overwritten two batches later.
  std::function<Variable(const Batch&)> loss;
  // How many values the loss of a batch is the mean of, where these are not its samples (labels
  // that are known): what its gradients weigh among batches that make one step, and its loss in the
  // epoch's mean. May be 0, and may be empty: the batch's samples.
  std::function<double(const Batch&)> weight;
  // Measures the model after an epoch; runs in eval mode without recording. May be empty. A long
  // one asks stop_requested() and throws Interrupted.
  std::function<std::map<std::string, double>(std::int64_t epoch)> validate;
  // Asked for after validate: texts that join TrainerOptions::texts in best and in the checkpoint
  // that ends the epoch. May be empty.
  std::function<std::map<std::string, std::string>()> epoch_texts;
  // Called before each batch with its number counted over all epochs, for what draws random numbers
  // (Model::set_step). May be empty.
  std::function<void(std::uint64_t number)> prepare;
  // With graphs: called once, with a tensor {1} i64 on the model's device that holds that number
  // when the work runs (Model::set_step_on_device). May be empty.
  std::function<void(const Tensor& number)> number_on_device;
};

struct TrainResult {
  enum class Status { finished, interrupted };
  Status status = Status::finished;
  std::int64_t epochs = 0;  // finished
  std::int64_t steps = 0;
  std::map<std::string, double> metrics;  // of the last finished epoch
  double best = 0;                        // NaN when there is none
  std::int64_t best_epoch = -1;
  bool stopped_early = false;  // see TrainerOptions::early_stop
};

// After an uninterrupted run, and after any sequence of kills and resumes of the same run,
// last.safetensors has the same bytes, provided that batches depend on (epoch, index) and the loss
// on the batch, the parameters and the number given to `prepare`.
class Trainer {
 public:
  // Model, optimizer and source must outlive the trainer. Training runs where the model is
  // (Module::to, before the optimizer is made); batches are taken there.
  Trainer(Module& model, Optimizer& optimizer, const ScheduleOptions& schedule, BatchSource& source,
          TrainerOptions options, TrainerCallbacks callbacks, TrainObserver* observer = nullptr);
  ~Trainer();

  // Trains to the end, or until SIGINT or SIGTERM: then the running step is finished, a checkpoint
  // is written and the status says so. Throws Error
  //   "[train] step ...: loss is nan ..." naming the batch's files and the first operation that
  //   gave a value that is not finite; "[train] ... other configuration ..." naming the differing
  //   keys;
  //   "[io] ..." when the disk is full (the previous checkpoint is intact).
  TrainResult run();

  // To be called by the loss callback: adds `value`, a mean over `weight` samples, to the epoch's
  // mean that is logged as "train_<name>". Values that are not finite are left out.
  void note(const std::string& name, double value, double weight = 1);

 private:
  struct State;
  nlohmann::json full_config() const;
  bool restore();
  void save() const;
  struct BatchResult;
  std::int64_t batches_a_step() const;
  bool in_pieces() const;
  bool first_rank() const;
  BatchResult compute_batch(std::int64_t index);
  void finish_step(std::int64_t count, const std::vector<BatchResult>& results, double lr);
  void train_step(double lr);
  void piece_step(double lr);
  void share_state(bool weights, bool* interrupted = nullptr);
  bool stopping() const;
  bool mine(std::int64_t index) const;
  void graph_step(double lr);
  void update(double lr, double scale);
  void check_norm() const;
  [[noreturn]] void explain_loss(const Batch& batch, std::int64_t index, double value);
  void end_epoch();
  bool stopped_early() const;
  void log(const nlohmann::json& line);

  Module& model_;
  Optimizer& optimizer_;
  BatchSource& source_;
  TrainerOptions options_;
  TrainerCallbacks callbacks_;
  TrainObserver* observer_;
  std::int64_t batches_, steps_per_epoch_, total_steps_;
  Schedule schedule_;
  std::optional<LossScale> loss_scale_;
  std::unique_ptr<State> state_;
};

}  // namespace thorax
