#include "bench/device_values.h"

#include <doctest/doctest.h>

#include "tests/support/check.h"

using namespace thorax;

TEST_CASE("gpu_table's data is the same wherever it is made, and repeats after a prime number") {
  const Tensor here = bench::normals({3, 200, 123}, 7, 0.5);
  CHECK(test::same_values(bench::normals({3, 200, 123}, 7, 0.5, {DeviceKind::sim, 0}).to(Device{}),
                          here));
  CHECK(here.data<float>()[65537] == here.data<float>()[0]);
  CHECK(here.data<float>()[65536] != here.data<float>()[0]);
  double squares = 0;
  for (std::int64_t i = 0; i < here.numel(); ++i)
    squares += double(here.data<float>()[i]) * here.data<float>()[i];
  CHECK(squares / static_cast<double>(here.numel()) == doctest::Approx(0.25).epsilon(0.02));
}

TEST_CASE("gpu_table's check sees one wrong value among many, its sign, its place and a NaN") {
  constexpr std::int64_t kCount = 70000;  // two rounds of maxima, with a rest in each
  for (const Device device : {Device{}, Device{DeviceKind::sim, 0}}) {
    const Tensor wanted = bench::normals({kCount}, 1, 1, device);
    const double scale = bench::largest_size(wanted);
    CHECK(scale > 3);
    CHECK(bench::relative_error(wanted, wanted) == 0);
    for (const std::int64_t at : {std::int64_t{0}, std::int64_t{65535}, kCount - 1})
      for (const float off : {0.25f, -0.25f}) {
        const Tensor wrong = wanted.to(Device{}).clone();
        wrong.data<float>()[at] += off;
        CHECK(bench::relative_error(wrong.to(device), wanted) ==
              doctest::Approx(0.25 / scale).epsilon(1e-5));
      }
    const Tensor broken = wanted.to(Device{}).clone();
    broken.data<float>()[300] = NAN;
    CHECK(std::isinf(bench::relative_error(broken.to(device), wanted)));
  }
}
