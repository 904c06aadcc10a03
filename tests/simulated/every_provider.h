// Every provider of the simulated GPU on small cases. The values are checked elsewhere
// (tests/kernels); here every kernel runs once in few seconds, so that it can run where that is
// dear: under the race detector and under AddressSanitizer (tests/sanitize.sh).
#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "engine/registry/registry.h"
#include "tests/support/check.h"
#include "tests/support/on_device.h"

namespace thorax::test {

// How the tensors of a run lie on a device.
struct Setting {
  Device device{DeviceKind::sim, 0};
  DType dtype = DType::f32;
  bool sliced = false;

  Tensor normal(const Shape& shape, std::uint64_t seed) const {
    return placed(normals(shape, seed), device, sliced && shape.numel() > 0, dtype);
  }
  // A parameter: contiguous, in float32 unless `type` says otherwise.
  Tensor parameter(const Shape& shape, std::uint64_t seed, DType type = DType::f32) const {
    return normals(shape, seed).to(type).to(device);
  }
  // Poisoned memory for a result.
  Tensor result(const Shape& shape) const {
    return destination(shape, device, sliced && shape.numel() > 0, dtype);
  }
  Tensor result_parameter(const Shape& shape) const { return poisoned(shape, DType::f32, device); }
};

// Dense and sliced float32, then the types of 16 bits.
inline std::vector<Setting> all_settings() {
  const Device device{DeviceKind::sim, 0};
  return {{device, DType::f32, false},
          {device, DType::f32, true},
          {device, DType::f16, false},
          {device, DType::bf16, true}};
}

// A result that was written: nothing of the poison is left, and nothing was made of it.
inline bool written(const Tensor& t) {
  const Tensor here = t.to(Device{}).to_contiguous().to(DType::f64);
  for (std::int64_t i = 0; i < here.numel(); ++i)
    if (!std::isfinite(here.data<double>()[i])) return false;
  return true;
}

// run(provider) for every provider on the simulated device that supports the problem; of a newer
// device only those that the oldest cannot run.
template <class Provider, class Problem, class Run>
void every_provider(const Registry<Provider>& registry, const Problem& problem,
                    const Setting& setting, const Run& run) {
  const auto runs_on = [&](const Provider& provider, Device device) {
    const DeviceScope scope(device);
    return provider.priority(problem) >= 0;
  };
  for (const Provider& provider : registry.all()) {
    if (provider.device != DeviceKind::sim) continue;
    const ProviderScope asked(registry.operation(), provider.name);
    if (!runs_on(provider, setting.device)) continue;
    if (setting.device.index > 0 && runs_on(provider, {DeviceKind::sim, 0})) continue;
    const DeviceScope scope(setting.device);
    CAPTURE(provider.name);
    CAPTURE(problem.to_string());
    CAPTURE(static_cast<int>(setting.dtype));
    CAPTURE(setting.sliced);
    run(provider);
  }
}

}  // namespace thorax::test
