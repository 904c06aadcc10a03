// The processes that train one network together: the ranks, numbered from 0.
#pragma once

#include <cstddef>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "engine/tensor/error.h"

namespace thorax {

// Every rank calls the same functions in the same order. One thread at a time.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  // "rank 2 of 4 on node7"
  virtual std::string place() const = 0;
  // What carries the messages: "Open MPI 4.1.4", "one process".
  virtual std::string library() const = 0;
  // Ranks of this machine, and the own number among them.
  virtual int local_size() const = 0;
  virtual int local_rank() const = 0;

  struct Send {
    int peer;
    std::span<const std::byte> data;
  };
  struct Receive {
    int peer;
    std::span<std::byte> data;
  };
  // With `limited`, an exchange in which every rank has the same work before it: one that is not
  // over after rank_timeout() is an Error. With `patient`, ranks wait for what one of them does
  // alone, however long that takes.
  enum class Wait { limited, patient };
  // All messages at once; the k-th from a to b goes where b's k-th from a is wanted, and has its
  // size. Peers are other ranks. Throws Error "[dist] ..." when the time is over or the library
  // reports a failure.
  virtual void exchange(std::span<const Send> sends, std::span<const Receive> receives,
                        Wait wait) = 0;
  // Rank 0's bytes to all.
  virtual void broadcast(std::span<std::byte> data, Wait wait) = 0;

  // Ends every rank at once, without cleaning up; the launcher reports the code.
  [[noreturn]] virtual void abort(int exit_code) = 0;
  // The last call of every rank.
  virtual void finish() = 0;
};

// A process alone.
std::unique_ptr<Communicator> one_process();

// Seconds: $THORAX_RANK_TIMEOUT, else 1800. Throws Error "[dist] ..." when it is no number above 0.
double rank_timeout();

// Everybody's document, by rank. Numbers arrive exactly, also those that are not finite.
std::vector<nlohmann::json> gather(Communicator& ranks, const nlohmann::json& own,
                                   Communicator::Wait wait = Communicator::Wait::limited);
// Rank 0's document; what the others give is not looked at.
nlohmann::json from_first(Communicator& ranks, const nlohmann::json& own,
                          Communicator::Wait wait = Communicator::Wait::limited);

// What a rank reports that failed, thrown by every rank: so it is told once, with the name of the
// rank, and all of them are in step.
class RankError : public Error {
 public:
  using Error::Error;
};
// Throws it on every rank when `error` is not empty on one of them; of several the lowest counts.
void fail_together(Communicator& ranks, const std::string& error);

// The name and type of the function that the module libthorax_mpi exports. It starts MPI; nullptr
// when the launcher's number of ranks is not the number that MPI sees, which `problem` then says.
inline constexpr const char* kMpiModuleEntry = "thorax_start_mpi";
using MpiModuleEntry = std::unique_ptr<Communicator> (*)(int launched, std::string* problem);

}  // namespace thorax
