// The arithmetic that finds a thread's elements.
#include "kernels/common/elementwise.cuh"

#include <doctest/doctest.h>

#include "kernels/common/vec.cuh"
#include "tests/support/on_device.h"

using namespace thorax;
namespace gpu = thorax::sim_build;

TEST_CASE("division by multiplication is division") {
  constexpr std::int64_t kLimit = std::int64_t{1} << 31;
  Philox random(5);
  for (const std::int64_t largest : {std::int64_t{1000}, kLimit - 1, kLimit, kLimit * 1000}) {
    for (std::int64_t d : {1, 2, 3, 5, 7, 9, 18, 36, 64, 641, 65535, 65536, 1 << 30, 0, 0, 0}) {
      if (d == 0)
        d = 1 + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(kLimit) - 2));
      const gpu::Division division(d, largest);
      std::vector<std::int64_t> numerators{0, 1, d - 1, d, d + 1, largest - 1, largest};
      for (int i = 0; i < 200; ++i) {
        const auto q =
            static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(largest / d + 1)));
        for (const std::int64_t n : {q * d - 1, q * d, q * d + 1}) numerators.push_back(n);
      }
      for (const std::int64_t n : numerators) {
        if (n < 0 || n > largest) continue;
        std::int64_t rest = 0;
        CHECK(division.divide(n, rest) == n / d);
        CHECK(rest == n % d);
      }
    }
  }
}

TEST_CASE("the widest access is one that channels, strides and addresses of all tensors allow") {
  const Device device{DeviceKind::sim, 0};
  const auto width = [](std::initializer_list<const Tensor*> tensors, auto type) {
    int result = 0;
    const Tensor& first = **tensors.begin();
    gpu::with_width<decltype(type)>(first.pixels(), first.channels(), tensors,
                                    [&](auto n) { result = decltype(n)::value; });
    return result;
  };
  const auto tensor = [&](std::int64_t channels, DType dtype) {
    return Tensor::empty({2, 3, channels}, dtype, device);
  };
  const Tensor a = tensor(24, DType::f32), h = tensor(24, DType::f16), none;
  CHECK(width({&a, &none}, float{}) == 4);
  CHECK(width({&h}, Half{}) == 8);
  const Tensor thin = tensor(18, DType::f32), thin_half = tensor(36, DType::f16);
  CHECK(width({&thin}, float{}) == 2);
  CHECK(width({&thin_half}, Half{}) == 2);
  const Tensor odd = tensor(3, DType::f32);
  CHECK(width({&odd}, float{}) == 1);
  // A slice at an odd channel, one at a multiple of 4, one whose pixels are 26 apart.
  const Tensor shifted = a.channel_slice(3, 8), even = a.channel_slice(4, 8);
  const Tensor apart = tensor(26, DType::f32).channel_slice(0, 8);
  CHECK(width({&shifted}, float{}) == 1);
  CHECK(width({&even}, float{}) == 4);
  CHECK(width({&even, &shifted}, float{}) == 1);
  CHECK(width({&apart}, float{}) == 2);
  // Bytes beside floats: groups of 4 floats are 4 bytes.
  const Tensor bytes = tensor(24, DType::u8);
  CHECK(width({&a, &bytes}, float{}) == 4);
}
