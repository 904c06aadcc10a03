#include "engine/runtime/ptx/measure.h"

#include <algorithm>

#include "engine/tensor/error.h"

namespace thorax::ptx {
namespace {
thread_local Measurement* current = nullptr;

double ratio(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}
}  // namespace

double LaunchCounts::sectors_a_request() const {
  return ratio(global_sectors, global_requests);
}
double LaunchCounts::wavefronts_a_request() const {
  return ratio(shared_wavefronts, shared_requests);
}

Measurement::Measurement(const Card& card, int sampled_blocks) : memory_(card) {
  memory_.sample(sampled_blocks);
  THORAX_CHECK(current == nullptr, "[ptx] launches of this thread are being measured already");
  current = this;
}
Measurement::~Measurement() {
  current = nullptr;
}
Measurement* Measurement::running() {
  return current;
}

Traffic Measurement::finish() {
  Traffic all = memory_.write_back();
  // Of sampled launches L2 holds a part: each is taken to write what it wrote, once.
  if (memory_.sampled_blocks() > 0) all = {};
  for (const LaunchCounts& launch : launches_) {
    Traffic traffic = launch.traffic;
    if (memory_.sampled_blocks() > 0)
      traffic.dram_written = std::max(traffic.dram_written, traffic.least_written);
    all.add(traffic);
  }
  return all;
}

}  // namespace thorax::ptx
