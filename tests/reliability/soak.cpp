#include "tests/reliability/soak.h"

#include <fmt/format.h>
#include <signal.h>

#include <array>
#include <cstdio>
#include <map>
#include <mutex>
#include <random>
#include <thread>

namespace thorax::reliability {

namespace fs = std::filesystem;

namespace {

constexpr std::array<std::pair<int, const char*>, 4> kSignals{{{SIGKILL, "SIGKILL"},
                                                               {SIGTERM, "SIGTERM"},
                                                               {SIGINT, "SIGINT"},
                                                               {SIGSTOP, "SIGSTOP and SIGCONT"}}};

class Soak {
 public:
  Soak(const std::vector<const Campaign*>& campaigns, std::int64_t signals, const fs::path& base,
       std::uint64_t seed, std::chrono::steady_clock::time_point end)
      : campaigns_(campaigns), left_(signals), base_(base), seed_(seed), end_(end) {}

  // One run after the other until the signals are used up.
  void serve(int job) {
    std::mt19937_64 random(seed_ + static_cast<std::uint64_t>(job));
    const fs::path folder = base_ / fmt::format("soak_{}", job);
    while (const Campaign* campaign = next()) {
      std::string wrong;
      std::vector<std::size_t> sent;  // which signals this run has met
      try {
        wrong = disturbed(*campaign, folder, random, sent);
      } catch (const std::exception& error) {
        wrong = error.what();
      }
      note(*campaign, sent, wrong);
    }
  }

  std::vector<SoakRow> rows() const {
    std::vector<SoakRow> result;
    for (const auto& [key, row] : rows_) result.push_back(row);
    return result;
  }

 private:
  const Campaign* next() {
    const std::scoped_lock lock(mutex_);
    if (left_ <= 0 || std::chrono::steady_clock::now() >= end_) return nullptr;
    return campaigns_[started_++ % campaigns_.size()];
  }

  // Runs a command to its end through as many signals as come; what is wrong afterwards.
  std::string disturbed(const Campaign& campaign, const fs::path& folder, std::mt19937_64& random,
                        std::vector<std::size_t>& sent) {
    write_tree(campaign.before(), folder);
    const double longest = 1.2 * campaign.seconds();
    bool with_checkpoint = false;
    for (bool first = true;; first = false) {
      const std::size_t which = random() % kSignals.size();
      const auto after = std::chrono::milliseconds(
          static_cast<long>(longest * 1000 * std::generate_canonical<double, 53>(random)));
      std::vector<Signal> signals{{kSignals[which].first, after}};
      if (kSignals[which].first == SIGSTOP)
        signals.push_back({SIGCONT, after + std::chrono::milliseconds(1 + random() % 100)});
      // A run may fall to ever new signals; the sixth start is left alone.
      const bool alone = sent.size() >= 5;
      const ProcessOutcome outcome =
          campaign.run(first ? campaign.scenario().command : campaign.scenario().remedy, folder, {},
                       alone ? std::vector<Signal>{} : signals);
      if (outcome.signals_sent > 0) sent.push_back(which);
      if (outcome.exit_code == 0) break;
      with_checkpoint = with_checkpoint || outcome.exit_code == 3;
      // 3: stopped with a checkpoint. Before a run begins, a signal ends the process as any other.
      const bool stopped = outcome.exit_code == 3 || outcome.signal == kSignals[which].first;
      if (alone || outcome.signals_sent == 0 || !stopped)
        return fmt::format("start {}: {}", sent.size() + 1, ended(outcome));
    }
    return campaign.difference(read_tree(folder), with_checkpoint);
  }

  void note(const Campaign& campaign, const std::vector<std::size_t>& sent,
            const std::string& wrong) {
    const std::scoped_lock lock(mutex_);
    left_ -= static_cast<std::int64_t>(sent.size());
    const std::string& name = campaign.scenario().name;
    std::string met;
    for (const std::size_t which : sent) {
      SoakRow& row = rows_[{name, which}];
      row.command = name;
      row.signal = kSignals[which].second;
      ++row.sent;
      met += fmt::format(" {}", kSignals[which].second);
    }
    if (wrong.empty()) return;
    // The last signal is blamed; a run that none has met is an error of the command or of the test.
    SoakRow& row = rows_[{name, sent.empty() ? kSignals.size() : sent.back()}];
    row.command = name;
    if (row.signal.empty()) row.signal = "none";
    ++row.lost;
    fmt::print("LOST  {}: after{}: {}\n", name, met.empty() ? " no signal" : met, wrong);
    std::fflush(stdout);
  }

  const std::vector<const Campaign*>& campaigns_;
  std::int64_t left_;
  fs::path base_;
  std::uint64_t seed_;
  std::chrono::steady_clock::time_point end_;
  std::mutex mutex_;
  std::size_t started_ = 0;
  std::map<std::pair<std::string, std::size_t>, SoakRow> rows_;
};

}  // namespace

std::vector<SoakRow> soak(const std::vector<const Campaign*>& campaigns, std::int64_t signals,
                          const fs::path& base, int jobs, std::uint64_t seed,
                          std::chrono::steady_clock::time_point end) {
  Soak soak(campaigns, signals, base, seed, end);
  std::vector<std::thread> threads;
  for (int j = 0; j < jobs; ++j) threads.emplace_back([&, j] { soak.serve(j); });
  for (std::thread& thread : threads) thread.join();
  return soak.rows();
}

}  // namespace thorax::reliability
