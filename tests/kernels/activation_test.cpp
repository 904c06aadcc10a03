#include "kernels/activation/activation.h"

#include <doctest/doctest.h>

#include "engine/autograd/gradcheck.h"
#include "kernels/dropout/dropout.h"
#include "tests/support/check.h"

using namespace thorax;

TEST_CASE("activation references: float64 gradient check") {
  const ProviderScope reference("activation", "reference");
  for (const auto& function : {relu, sigmoid}) {
    for (const Shape& shape : {Shape{17}, Shape{2, 3, 4, 3}}) {
      const GradcheckResult result =
          gradcheck([&](const std::vector<Variable>& in) { return function(in[0]); },
                    {test::normals(shape, 1, DType::f64)});
      CAPTURE(result.message);
      CHECK(result.ok);
    }
  }
}

TEST_CASE("reshape shares memory and its gradient comes back in the input's shape") {
  const Variable x(test::normals({2, 3, 4, 5}, 1, DType::f64), true);
  const Variable y = reshape(x, {6, 20});
  CHECK(y.value().raw() == x.value().raw());
  // The gradient may arrive as a slice of a wider tensor.
  const Tensor seed = test::as_slice(test::normals({6, 20}, 2, DType::f64));
  backward(y, seed);
  CHECK(test::same_values(x.grad(), seed.clone().reshape({2, 3, 4, 5})));
  CHECK_THROWS_WITH_AS(reshape(x, {7, 20}), doctest::Contains("2x3x4x5"), Error);
}
