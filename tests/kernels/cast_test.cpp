#include "kernels/cast/cast.h"

#include <doctest/doctest.h>

#include "tests/support/check.h"

using namespace thorax;

TEST_CASE("cast: values to nearest, the gradient comes back in the input's type") {
  for (const Device device : {Device{}, Device{DeviceKind::sim, 0}}) {
    for (const DType type : {DType::f16, DType::bf16, DType::f64}) {
      CAPTURE(to_string(device));
      CAPTURE(name_of(type));
      const Tensor values = test::normals({2, 3, 4, 5}, 1);
      const Variable x(test::as_slice(values).to(device), true);
      const Variable y = cast(x, type);
      CHECK(y.value().dtype() == type);
      CHECK(y.value().device() == device);
      CHECK(test::same_values(y.value().to(Device{}), values.to(type)));
      // f16 keeps 11 significant bits, bf16 8.
      const double unit = type == DType::f16 ? 0x1p-11 : type == DType::bf16 ? 0x1p-8 : 0;
      const test::Difference d = test::difference(y.value().to(Device{}), values, 1e-30, unit);
      CHECK(d.worst <= 1);
      CHECK((d.worst > 0.5) == (unit > 0));
      const Tensor seed = test::normals({2, 3, 4, 5}, 2, type);
      backward(y, test::as_slice(seed).to(device));
      CHECK(x.grad().dtype() == DType::f32);
      CHECK(test::same_values(x.grad().to(Device{}), seed.to(DType::f32)));
    }
  }
  const Variable x(Tensor::full({2}, 1e30));
  CHECK(cast(x, DType::f32).same_as(x));
  CHECK(std::isinf(cast(x, DType::f16).value().batch_slice(0, 1).item()));
  CHECK_THROWS_WITH_AS(cast(x, DType::i32), doctest::Contains("[cast] 2 f32 to i32"), Error);
}
