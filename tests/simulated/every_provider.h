// Every provider of GPUs on small cases: on the simulated GPU and, where there is one, on the
// machine's own, or with THORAX_TEST_DEVICE=ptx as the PTX that nvcc made of it, whose results must
// then be the simulated ones. The values are checked elsewhere
// (tests/kernels); here every kernel runs once in few seconds, so that it can run where that is
// dear: under the race detector, AddressSanitizer (preset asan) and compute-sanitizer
// (bench/gpu_check.sh).
#pragma once

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/registry/registry.h"
#include "tests/support/check.h"
#include "tests/support/gpu.h"
#include "tests/support/on_device.h"

namespace thorax::test {

// How the tensors of a run lie on a device.
struct Setting {
  Device device{DeviceKind::sim, 0};
  DType dtype = DType::f32;
  bool sliced = false;
  std::vector<Tensor>* results = nullptr;  // what was handed out for them

  Tensor normal(const Shape& shape, std::uint64_t seed) const {
    return placed(normals(shape, seed), device, sliced && shape.numel() > 0, dtype);
  }
  // A parameter: contiguous, in float32 unless `type` says otherwise.
  Tensor parameter(const Shape& shape, std::uint64_t seed, DType type = DType::f32) const {
    return normals(shape, seed).to(type).to(device);
  }
  // Poisoned memory for a result.
  Tensor result(const Shape& shape) const {
    return noted(destination(shape, device, sliced && shape.numel() > 0, dtype));
  }
  Tensor result_parameter(const Shape& shape, DType type = DType::f32) const {
    return noted(poisoned(shape, type, device));
  }
  // The like for whole numbers, which have no poison.
  Tensor result_integers(const Shape& shape, DType type) const {
    return noted(Tensor::empty(shape, type, device));
  }

 private:
  Tensor noted(const Tensor& t) const {
    if (results != nullptr) results->push_back(t);
    return t;
  }
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

// How far a GPU may be from the simulated one, relative to the largest value. Both run the same
// source; what differs is where a compiler contracts a product and a sum, the exponential and the
// logarithm, and how a tensor core rounds within a float32 sum: hence 2^-13, and four roundings to
// the result's type.
inline double allowed_apart(DType dtype) {
  return 0x1p-13 + 4 * rounding_of(dtype).relative;
}

// What the comparison found, told at the end of the program.
struct Agreement {
  std::map<std::string, std::pair<std::size_t, std::size_t>> operations;  // same bits, of so many
  ~Agreement() {
    for (const auto& [operation, count] : operations)
      fmt::print("{}: {} of {} results on {} have the simulated GPU's bits\n", operation,
                 count.first, count.second, device_text(gpu()));
  }
};

// Results of a provider here and there: the same bits, or near each other.
inline void compare(const std::string& operation, const std::vector<Tensor>& simulated,
                    const std::vector<Tensor>& real) {
  static Agreement agreement;
  auto& [same, all] = agreement.operations[operation];
  REQUIRE(simulated.size() == real.size());
  for (std::size_t i = 0; i < real.size(); ++i) {
    ++all;
    if (same_bits(simulated[i], real[i])) {
      ++same;
      continue;
    }
    CAPTURE(i);
    double largest = 0;
    const Tensor values = simulated[i].to(Device{}).to_contiguous().to(DType::f64);
    for (std::int64_t k = 0; k < values.numel(); ++k)
      largest = std::max(largest, std::abs(values.data<double>()[k]));
    const Difference off =
        difference(real[i], simulated[i], allowed_apart(real[i].dtype()) * largest);
    CHECK_MESSAGE(off.worst <= 1, off.where);
  }
}

// run(provider, setting) for every provider on the simulated device that supports the problem; of a
// newer device only those that the oldest cannot run. Then for the provider of that name on the
// machine's GPU.
template <class Provider, class Problem, class Run>
void every_provider(const Registry<Provider>& registry, const Problem& problem,
                    const Setting& setting, const Run& run) {
  const auto runs_on = [&](const Provider& provider, Device device) {
    const DeviceScope scope(device);
    return provider.priority(problem) >= 0;
  };
  const auto results = [&](const Provider& provider, Device device) {
    std::vector<Tensor> written;
    Setting there = setting;
    there.device = device;
    there.results = &written;
    const DeviceScope scope(device);
    CAPTURE(device_text(device));
    run(provider, there);
    return written;
  };
  for (const Provider& provider : registry.all()) {
    if (provider.device != DeviceKind::sim) continue;
    const ProviderScope asked(registry.operation(), provider.name);
    if (!runs_on(provider, setting.device)) continue;
    if (setting.device.index > 0 && runs_on(provider, {DeviceKind::sim, 0})) continue;
    CAPTURE(provider.name);
    CAPTURE(problem.to_string());
    CAPTURE(static_cast<int>(setting.dtype));
    CAPTURE(setting.sliced);
    const std::vector<Tensor> simulated = results(provider, setting.device);
    if (on_ptx()) {
      const Device ptx = ptx_for(setting.device.index);
      REQUIRE(runs_on(provider, ptx));
      compare(fmt::format("{} {}", registry.operation(), provider.name), simulated,
              results(provider, ptx));
      continue;
    }
    if (gpu_kind() == DeviceKind::sim) continue;
    const Provider& real = registry.named(provider.name, gpu_kind());
    if (!runs_on(real, gpu())) continue;
    compare(fmt::format("{} {}", registry.operation(), provider.name), simulated,
            results(real, gpu()));
  }
}

}  // namespace thorax::test
