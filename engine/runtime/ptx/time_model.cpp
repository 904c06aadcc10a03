#include "engine/runtime/ptx/time_model.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "engine/tensor/error.h"

namespace thorax::ptx {
namespace {

// Assumptions, the same for all cards (TIME_MODEL.md).
constexpr double kLaunch = 2.5e-6;     // seconds from launch to launch
constexpr double kAttainable = 0.9;    // of the data sheet's DRAM bandwidth
constexpr double kMemoryClocks = 500;  // from a load to its value, out of DRAM
constexpr double kBarrierClocks = 30;
constexpr double kDependentClocks = 2;  // between two instructions of a warp, the mean
constexpr double kSchedulers = 4;       // of a multiprocessor, an instruction a clock each

}  // namespace

Prediction predict(const LaunchCounts& l, const Card& card, int registers) {
  const int resident =
      resident_blocks(card.capability, registers, static_cast<int>(l.threads), l.shared);
  THORAX_CHECK(resident > 0,
               "[ptx] {}: a block of {} threads with {} registers each and {} bytes of shared "
               "memory does not fit in a multiprocessor of {}",
               l.kernel, l.threads, registers, l.shared, card.name);
  Prediction result;
  const auto blocks = static_cast<double>(l.blocks);
  if (l.blocks == 0) return result;
  result.waves = blocks / (static_cast<double>(resident) * card.multiprocessors);
  // Blocks that the busiest multiprocessor gets.
  const double most = std::ceil(blocks / card.multiprocessors);
  const double active = std::min<double>(blocks, card.multiprocessors);
  const auto pipe = [&](std::string_view name, double clocks_of_all) {
    if (clocks_of_all > 0)
      result.parts.push_back({name, clocks_of_all / blocks * most / card.clock});
  };
  const auto lanes = [](std::uint64_t instructions, int width) {
    return static_cast<double>(instructions) * 32 / width;
  };
  pipe("issue", static_cast<double>(l.instructions) / kSchedulers);
  pipe("float32", lanes(l.float32, card.float32));
  pipe("integer", lanes(l.integer, card.integer));
  pipe("float64", lanes(l.float64, card.float64));
  pipe("special", lanes(l.special, card.special));
  if (l.matrix_16 > 0) pipe("tensor", l.matrix_16 / card.matrix_16);
  if (l.matrix_tf32 > 0) {
    THORAX_CHECK(card.matrix_tf32 > 0, "[ptx] {}: {} has no tf32", l.kernel, card.name);
    pipe("tensor tf32", l.matrix_tf32 / card.matrix_tf32);
  }
  pipe("L1/shared", static_cast<double>(l.l1_clocks));
  const auto l2 = static_cast<double>(l.traffic.l2_read + l.traffic.l2_written);
  // A multiprocessor takes 64 bytes a clock from L2.
  result.parts.push_back({"L2", std::max(l2 / card.l2_rate, l2 / active / 64) / card.clock});
  result.parts.push_back(
      {"DRAM", static_cast<double>(l.traffic.dram()) / (card.dram_rate * kAttainable)});
  // What one block takes when it has the multiprocessor for itself: its warps' instructions one
  // after the other, and a wait for memory at each barrier that follows loads.
  const double warps = blocks * ((l.threads + 31) / 32);
  const double barriers = static_cast<double>(l.barriers) / warps;
  const double waits =
      std::min(static_cast<double>(l.waiting_loads) / warps, std::max(1.0, barriers / 2));
  const double block = static_cast<double>(l.instructions) / warps * kDependentClocks +
                       barriers * kBarrierClocks + waits * kMemoryClocks;
  result.parts.push_back({"latency", std::ceil(result.waves) * block / card.clock});

  const auto longest =
      std::max_element(result.parts.begin(), result.parts.end(),
                       [](const auto& a, const auto& b) { return a.seconds < b.seconds; });
  result.bound = longest->seconds > kLaunch ? longest->name : "launch";
  result.seconds = kLaunch + longest->seconds;
  return result;
}

Prediction predict(const std::vector<Prediction>& launches) {
  Prediction all;
  std::map<std::string_view, double> by_bound;
  for (const Prediction& p : launches) {
    all.seconds += p.seconds;
    all.waves += p.waves;
    by_bound[p.bound] += p.seconds;
  }
  double most = 0;
  for (const auto& [name, seconds] : by_bound)
    if (seconds > most) {
      most = seconds;
      all.bound = name;
    }
  return all;
}

}  // namespace thorax::ptx
