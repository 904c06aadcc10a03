#include "kernels/reduce/reduce.h"

#include <doctest/doctest.h>

#include "engine/autograd/gradcheck.h"
#include "kernels/reduce/cases.h"
#include "tests/support/check.h"
#include "tests/support/on_device.h"
#include "tests/support/threads.h"

using namespace thorax;

TEST_CASE("every reduce provider against the reference") {
  const ReduceProvider& reference = reduce_providers().named("reference");
  for (const ReduceProblem& exact : reduce_cases::all()) {
    for (const DType dtype : test::kActivationTypes) {
      ReduceProblem problem = exact;
      problem.dtype = dtype;
      const Tensor x = test::rounded(test::normals(exact.shape, 1), dtype);
      const Tensor dy = test::rounded(test::normals(exact.kept_shape(), 2), dtype);
      const Tensor y = Tensor::empty(exact.kept_shape()), dx = Tensor::empty(exact.shape);
      reference.forward(exact, x, y);
      reference.backward(exact, dy, dx);
      for (const ReduceProvider& provider : reduce_providers().all()) {
        if (provider.priority(problem) < 0) continue;
        CAPTURE(provider.name);
        CAPTURE(problem.to_string());
        for (const bool sliced : {false, true}) {
          const bool slice = sliced && x.numel() > 0;
          const Device device = test::device_of(provider);
          const Tensor got = test::destination(y.shape(), device, false, dtype);
          const Tensor got_dx = test::destination(x.shape(), device, slice, dtype);
          provider.forward(problem, test::placed(x, device, slice, dtype), got);
          provider.backward(problem, test::placed(dy, device, false, dtype), got_dx);
          // Sums in double: the rounding to the type decides, and 2^-40 of the 70,001 terms at
          // most where they cancel.
          const test::Rounding last = test::rounding_of(dtype);
          const double relative = 0x1p-24 + 1.001 * last.relative;
          CHECK(test::difference(test::back(got), y, last.absolute + 0x1p-40, relative).worst <= 1);
          CHECK(test::difference(test::back(got_dx), dx, last.absolute, 2 * relative).worst <= 1);
        }
      }
    }
  }
}

TEST_CASE("sum and mean: shapes and values by hand") {
  // 0 1 2 | 3 4 5 || 6 7 8 | 9 10 11
  std::vector<float> values(12);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  for (const Device device : test::one_device_a_kind()) {
    const Variable x(Tensor::from(values, {2, 2, 3}).to(device));
    CHECK(sum(x).value().item() == 66);
    CHECK(sum(x).shape() == Shape{1});
    CHECK(mean(x).value().item() == 5.5);
    CHECK(test::same_values(sum(x, {0, 2}).value(), Tensor::from(std::vector<float>{24, 42}, {2})));
    CHECK(test::same_values(
        mean(x, {1}, true).value(),
        Tensor::from(std::vector<float>{1.5f, 2.5f, 3.5f, 7.5f, 8.5f, 9.5f}, {2, 1, 3})));
    CHECK(test::same_values(mean(x, {-1}).value(),
                            Tensor::from(std::vector<float>{1, 4, 7, 10}, {2, 2})));
    CHECK(sum(x, {0, 1, 2}, true).shape() == Shape{1, 1, 1});
  }
}

TEST_CASE("sum and mean: float64 gradient check") {
  const Tensor x = test::normals({2, 3, 4}, 1, DType::f64);
  const auto check = [&](const auto& function) {
    const GradcheckResult result =
        gradcheck([&](const std::vector<Variable>& in) { return function(in[0]); }, {x});
    CAPTURE(result.message);
    CHECK(result.ok);
  };
  check([](const Variable& v) { return sum(v); });
  check([](const Variable& v) { return mean(v); });
  check([](const Variable& v) { return mean(v, {0, 2}); });
  check([](const Variable& v) { return sum(v, {1}, true); });
}

TEST_CASE("reduce cpu: 1 and 2 threads give the same bits") {
  const Tensor x = test::normals({300, 401}, 1);
  for (const int axis : {0, 1}) {
    const auto run = [&] { return sum(Variable(x), {axis}).value(); };
    CHECK(test::same_values(test::with_threads(1, run), test::with_threads(2, run)));
  }
  const auto run = [&] { return sum(Variable(x)).value(); };
  CHECK(test::same_values(test::with_threads(1, run), test::with_threads(2, run)));
}

TEST_CASE("reductions that make no sense are errors") {
  const Variable x(Tensor::zeros({2, 3}));
  CHECK_THROWS_WITH_AS(sum(x, {2}), doctest::Contains("[sum] axis 2 of 2x3: there are 2 axes"),
                       Error);
  CHECK_THROWS_WITH_AS(mean(x, {1, -1}), doctest::Contains("[mean] axis -1 of 2x3 is named twice"),
                       Error);
  CHECK_THROWS_WITH_AS(mean(Variable(Tensor::zeros({0, 3})), {0}),
                       doctest::Contains("[mean] 0x3 has no elements"), Error);
}
