// Timing on a device. A GPU: by its own clock, with the L2 cache emptied before every run. The CPU:
// by the steady clock, caches as the run before left them.
#pragma once

#include <algorithm>
#include <chrono>
#include <vector>

#include "engine/runtime/device.h"
#include "engine/tensor/tensor.h"

namespace thorax::app {

class DeviceTimer {
 public:
  DeviceTimer(Device device, int repeats)
      : device_(device),
        repeats_(repeats),
        // Larger than any L2 cache: 96 MiB covers twice an H100's 50 MB. A simulated device has
        // none.
        flush_(Tensor::empty({device.kind == DeviceKind::cuda ? std::int64_t{96} << 20 : 1},
                             DType::u8, device)) {}

  // Seconds of every run, sorted; `work` launches on the device's compute stream. One run warms up.
  // Work that is so slow that the repeats would take over a second is run three times.
  template <class Work>
  std::vector<double> sorted_seconds(const Work& work) const {
    work();
    std::vector<double> seconds;
    for (int i = 0; i < repeats_; ++i) {
      seconds.push_back(one(work, i));
      if (i == 2 && seconds[0] * repeats_ > 1) break;
    }
    std::sort(seconds.begin(), seconds.end());
    return seconds;
  }
  template <class Work>
  double median(const Work& work) const {
    const std::vector<double> seconds = sorted_seconds(work);
    return seconds[seconds.size() / 2];
  }

 private:
  template <class Work>
  double one(const Work& work, int i) const {
    if (device_.kind == DeviceKind::cpu) {
      const auto begin = std::chrono::steady_clock::now();
      work();
      return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    }
    DeviceBackend& backend = device_backend(device_.kind);
    fill_bytes(flush_.raw(), device_, i & 1, flush_.bytes());
    const std::uint64_t begin = backend.mark(device_.index);
    work();
    const std::uint64_t end = backend.mark(device_.index);
    return backend.seconds_between(device_.index, begin, end);
  }

  Device device_;
  int repeats_;
  Tensor flush_;
};

}  // namespace thorax::app
