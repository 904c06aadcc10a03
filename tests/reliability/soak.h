// Signals at random moments, until every run is done.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/reliability/campaign.h"

namespace thorax::reliability {

struct SoakRow {
  std::string command, signal;
  std::int64_t sent = 0, lost = 0;
};

// Starts the commands over and over, in a folder for each of `jobs` threads, and sends each start
// one of SIGKILL, SIGTERM, SIGINT, and SIGSTOP with SIGCONT after it, until `signals` have met a
// running process (or the time is up); each run is resumed until it ends by itself and must have
// given the files of an undisturbed one. Prints what is lost.
std::vector<SoakRow> soak(const std::vector<const Campaign*>& campaigns, std::int64_t signals,
                          const std::filesystem::path& base, int jobs, std::uint64_t seed,
                          std::chrono::steady_clock::time_point end);

}  // namespace thorax::reliability
