// The GPU that a test runs on: the machine's own where there is one and this build has kernels for
// it, the simulated one otherwise; with THORAX_TEST_DEVICE=ptx the one that executes PTX.
#pragma once

#include <doctest/doctest.h>

#include <cstdlib>
#include <string_view>

#include "engine/runtime/device.h"
#include "engine/runtime/ptx_devices.h"

namespace thorax::test {

inline bool on_ptx() {
  static const bool asked = [] {
    const char* text = std::getenv("THORAX_TEST_DEVICE");
    return text != nullptr && std::string_view(text) == "ptx";
  }();
  return asked;
}
// In place of the simulated one of that index. A build may have PTX for the oldest and the newest
// architecture alone, so the newest stands for those between.
inline Device ptx_for(int simulated) {
  return ptx_device(simulated == 0 ? 0 : 2);
}
inline DeviceKind gpu_kind() {
  if (on_ptx()) return DeviceKind::sim;
  return device_count(DeviceKind::cuda) > 0 ? DeviceKind::cuda : DeviceKind::sim;
}
// In place of the simulated one of that index (0: sm_75, 1: sm_80, 2: sm_90).
inline Device gpu(int simulated = 0) {
  if (gpu_kind() == DeviceKind::cuda) return {DeviceKind::cuda, 0};
  if (on_ptx()) return ptx_for(simulated);
  return {DeviceKind::sim, simulated};
}
// Whether it is older than the simulated one of that index; says so.
inline bool gpu_is_older(int simulated) {
  const DeviceInfo info = device_info(gpu(simulated));
  const int wanted = device_info({DeviceKind::sim, simulated}).compute_capability;
  if (info.compute_capability >= wanted) return false;
  MESSAGE("left out on " << info.name << ": needs sm_" << wanted);
  return true;
}

}  // namespace thorax::test
