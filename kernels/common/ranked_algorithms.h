// A library's algorithms for one problem: its heuristics rank them, some of them may still not run,
// and the first that runs is kept.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace thorax::vendor {

template <class Algorithm>
class RankedAlgorithms {
 public:
  // Calls run(algorithm) with the one that is kept for `problem`; where there is none yet, with
  // those of rank() (best first) until one returns true, which is kept. False when none of them
  // runs, at once when that is known. Thread-safe; neither function is called under the lock.
  template <class Rank, class Run>
  bool run(const std::string& problem, const Rank& rank, const Run& run) {
    if (const std::optional<Kept> kept = find(problem)) return *kept && run(**kept);
    for (const Algorithm& algorithm : rank()) {
      if (!run(algorithm)) continue;
      keep(problem, algorithm);
      return true;
    }
    keep(problem, {});
    return false;
  }

 private:
  using Kept = std::optional<Algorithm>;  // empty: none runs

  std::optional<Kept> find(const std::string& problem) {
    const std::scoped_lock lock(mutex_);
    const auto found = kept_.find(problem);
    return found == kept_.end() ? std::nullopt : std::optional<Kept>(found->second);
  }
  void keep(const std::string& problem, const Kept& kept) {
    const std::scoped_lock lock(mutex_);
    kept_.insert_or_assign(problem, kept);
  }

  std::mutex mutex_;
  std::map<std::string, Kept> kept_;
};

}  // namespace thorax::vendor
