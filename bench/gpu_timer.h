// Timing on a device: L2-cold, median of several runs, by the device's own clock.
#pragma once

#include <algorithm>
#include <vector>

#include "engine/runtime/device.h"
#include "engine/tensor/tensor.h"

namespace thorax::bench {

class GpuTimer {
 public:
  GpuTimer(Device device, int repeats)
      : device_(device),
        repeats_(repeats),
        // Larger than any L2 cache: 96 MiB covers twice an H100's 50 MB. A simulated device has
        // none.
        flush_(Tensor::empty({device.kind == DeviceKind::sim ? 1 : std::int64_t{96} << 20},
                             DType::u8, device)) {}

  // Seconds, the median; `work` launches on the device's compute stream. One run warms up. Work
  // that is so slow that the repeats would take over a second is run three times.
  template <class Work>
  double median(const Work& work) const {
    DeviceBackend& backend = device_backend(device_.kind);
    work();
    std::vector<double> seconds;
    for (int i = 0; i < repeats_; ++i) {
      fill_bytes(flush_.raw(), device_, i & 1, flush_.bytes());
      const std::uint64_t begin = backend.mark(device_.index);
      work();
      const std::uint64_t end = backend.mark(device_.index);
      seconds.push_back(backend.seconds_between(device_.index, begin, end));
      if (i == 2 && seconds[0] * repeats_ > 1) break;
    }
    const auto middle = seconds.begin() + std::ssize(seconds) / 2;
    std::nth_element(seconds.begin(), middle, seconds.end());
    return *middle;
  }

 private:
  Device device_;
  int repeats_;
  Tensor flush_;
};

}  // namespace thorax::bench
