// Two threads of the host use a device for the first time at once, and go on using it.
#include <doctest/doctest.h>

#include <atomic>
#include <thread>

#include "engine/runtime/device.h"
#include "engine/runtime/staging.h"
#include "tests/support/check.h"
#include "tests/support/gpu.h"

using namespace thorax;

TEST_CASE("two threads use one device, from its first use on") {
  const Device device = test::gpu(2);  // on the simulator one that no other test here uses
  std::atomic<int> ready{0}, right{0};
  const auto work = [&](int own) {
    ++ready;
    while (ready < 2) std::this_thread::yield();
    const DeviceScope on(device);
    DeviceBackend& backend = device_backend(device.kind);
    Staging staging(device);
    for (int i = 0; i < 20; ++i) {
      const std::uint64_t begin = backend.mark(device.index);
      staging.begin(std::vector<Tensor>{Tensor::full({100 + i}, own)});
      const Tensor uploaded = staging.take()[0],
                   filled = Tensor::full({100 + i}, 2, DType::f32, device);
      add_(filled, uploaded);
      const std::uint64_t end = backend.mark(device.index);
      const bool same = test::same_values(filled.to(Device{}), Tensor::full({100 + i}, 2 + own));
      right += same && backend.seconds_between(device.index, begin, end) >= 0;
    }
  };
  std::thread first(work, 5), second(work, 7);
  first.join();
  second.join();
  CHECK(right == 40);
}
