// The GPU that a test runs on: the machine's own where there is one and this build has kernels for
// it, the simulated one otherwise.
#pragma once

#include <doctest/doctest.h>

#include "engine/runtime/device.h"

namespace thorax::test {

inline DeviceKind gpu_kind() {
  return device_count(DeviceKind::cuda) > 0 ? DeviceKind::cuda : DeviceKind::sim;
}
// In place of the simulated one of that index (0: sm_75, 1: sm_80, 2: sm_90).
inline Device gpu(int simulated = 0) {
  if (gpu_kind() == DeviceKind::cuda) return {DeviceKind::cuda, 0};
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
