#include "kernels/permute/permute.h"

#include <doctest/doctest.h>

#include "engine/autograd/gradcheck.h"
#include "kernels/permute/cases.h"
#include "tests/support/check.h"
#include "tests/support/on_device.h"

using namespace thorax;

TEST_CASE("every permute provider against the reference, exactly") {
  const PermuteProvider& reference = permute_providers().named("reference");
  for (const PermuteProblem& exact : permute_cases::all()) {
    for (const DType dtype : test::kActivationTypes) {
      PermuteProblem problem = exact;
      problem.dtype = dtype;
      const Tensor x = test::rounded(test::normals(exact.shape, 1), dtype);
      const Tensor y = Tensor::empty(exact.result_shape());
      reference.forward(exact, x, y);
      for (const PermuteProvider& provider : permute_providers().all()) {
        if (provider.priority(problem) < 0) continue;
        CAPTURE(provider.name);
        CAPTURE(problem.to_string());
        for (const bool sliced : {false, true}) {
          const bool slice = sliced && x.numel() > 0;
          const Device device = test::device_of(provider);
          const Tensor got = test::destination(y.shape(), device, slice, dtype);
          provider.forward(problem, test::placed(x, device, slice, dtype), got);
          CHECK(test::same_values(test::back(got), y));
          // And back again.
          const Tensor again = test::destination(x.shape(), device, slice, dtype);
          provider.forward(problem.inverse(), got, again);
          CHECK(test::same_values(test::back(again), x));
        }
      }
    }
  }
}

TEST_CASE("permute is nhwc_to_nchw of the tensor") {
  const Tensor x = test::normals({2, 5, 6, 7}, 1);
  CHECK(test::same_values(permute(Variable(x), {0, 3, 1, 2}).value(), nhwc_to_nchw(x)));
}

TEST_CASE("permute, transpose and flatten: float64 gradient check") {
  const auto check = [&](const auto& function) {
    const GradcheckResult result =
        gradcheck([&](const std::vector<Variable>& in) { return function(in[0]); },
                  {test::normals({2, 3, 4, 2}, 1, DType::f64)});
    CAPTURE(result.message);
    CHECK(result.ok);
  };
  check([](const Variable& x) { return permute(x, {3, -4, 2, 1}); });
  check([](const Variable& x) { return transpose(x); });
  check([](const Variable& x) { return transpose(x, 0, 2); });
  check([](const Variable& x) { return flatten(x); });
}

TEST_CASE("reshape copies a slice and shares anything else") {
  const Tensor x = test::normals({4, 6}, 1);
  CHECK(reshape(Variable(x), {3, 8}).value().raw() == x.raw());
  const Tensor slice = test::as_slice(x);
  CHECK(test::same_values(reshape(Variable(slice), {3, 8}).value(), x.reshape({3, 8})));
}

TEST_CASE("permutations that are none are errors") {
  const Variable x(Tensor::zeros({2, 3, 4}));
  CHECK_THROWS_WITH_AS(permute(x, {0, 1}), doctest::Contains("[permute] axes (0, 1) for 2x3x4"),
                       Error);
  CHECK_THROWS_WITH_AS(permute(x, {0, 1, 1}), doctest::Contains("each of 0..2 once"), Error);
  CHECK_THROWS_WITH_AS(transpose(x, 0, 3), doctest::Contains("[transpose] axes 0 and 3 of 2x3x4"),
                       Error);
}
