#include "engine/runtime/ptx/measure.h"

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

Measurement::Measurement(const Card& card) : memory_(card) {
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
  for (const LaunchCounts& launch : launches_) all.add(launch.traffic);
  return all;
}

}  // namespace thorax::ptx
