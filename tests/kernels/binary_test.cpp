#include "kernels/binary/binary.h"

#include <doctest/doctest.h>

#include "engine/autograd/gradcheck.h"
#include "kernels/activation/unary.h"
#include "kernels/binary/cases.h"
#include "tests/support/check.h"
#include "tests/support/on_device.h"
#include "tests/support/threads.h"

using namespace thorax;

namespace {

constexpr BinaryKind kKinds[] = {BinaryKind::add, BinaryKind::sub, BinaryKind::mul,
                                 BinaryKind::div};
using Function = Variable (*)(const Variable&, const Variable&);
constexpr Function kFunctions[] = {add, sub, mul, div};

}  // namespace

TEST_CASE("every binary provider against the reference") {
  const BinaryProvider& reference = binary_providers().named("reference");
  for (const auto& [shape_a, shape_b] : binary_cases::all()) {
    for (const BinaryKind kind : kKinds) {
      for (const DType dtype : test::kActivationTypes) {
        const BinaryProblem exact{.kind = kind, .a = shape_a, .b = shape_b};
        BinaryProblem problem = exact;
        problem.dtype = dtype;
        const Tensor a = test::rounded(test::normals(shape_a, 1), dtype);
        const Tensor b = test::rounded(test::normals(shape_b, 2), dtype);
        const Tensor y = Tensor::empty(exact.result_shape());
        reference.forward(exact, a, b, y);
        for (const BinaryProvider& provider : binary_providers().all()) {
          if (provider.priority(problem) < 0) continue;
          CAPTURE(provider.name);
          CAPTURE(problem.to_string());
          for (const bool sliced : {false, true}) {
            const Device device = test::device_of(provider);
            const auto there = [&](const Tensor& t) {
              return test::placed(t, device, sliced && t.numel() > 0, dtype);
            };
            const Tensor got = test::destination(y.shape(), device, sliced && y.numel() > 0, dtype);
            provider.forward(problem, there(a), there(b), got);
            CHECK((size_of(dtype) == 2 || test::neighbours_untouched(got)));
            // One operation in float, then the type's rounding.
            const test::Rounding last = test::rounding_of(dtype);
            const double relative = 0x1p-24 + 1.001 * last.relative;
            CHECK(test::difference(test::back(got), y, last.absolute, relative).worst <= 1);
          }
        }
      }
    }
  }
}

TEST_CASE("arithmetic: float64 gradient check with broadcasting") {
  for (const auto& [shape_a, shape_b] : binary_cases::all()) {
    const Shape result = broadcast_shape("test", shape_a, shape_b);
    if (result.numel() == 0 || result.numel() > 1000) continue;
    for (const Function function : kFunctions) {
      // Divisors away from zero: central differences would step too far beside it.
      const Tensor a = test::normals(shape_a, 1, DType::f64);
      const Tensor b = test::normals(shape_b, 2, DType::f64, 0.2);
      const Variable shifted = Variable(b) + 2.0;
      const GradcheckResult checked =
          gradcheck([&](const std::vector<Variable>& in) { return function(in[0], in[1]); },
                    {a, shifted.value()});
      CAPTURE(checked.message);
      CHECK(checked.ok);
    }
  }
}

TEST_CASE("arithmetic on the tape of every device") {
  for (const Device device : test::one_device_a_kind()) {
    const Variable x(Tensor::from(std::vector<float>{1, 2, 3, 4}, {2, 2}).to(device), true);
    const Variable row(Tensor::from(std::vector<float>{10, 20}, {2}).to(device), true);
    // (x row + x - row) / 2 + 1; by hand
    const Variable y = (x * row + x - row) / 2.0 + 1.0;
    const Tensor values = y.value().to(Device{});
    const float expected[] = {1.5f, 12.0f, 12.5f, 33.0f};
    for (int i = 0; i < 4; ++i) CHECK(values.data<float>()[i] == expected[i]);
    backward(y, Tensor::full({2, 2}, 1.0, DType::f32, device));
    const Tensor dx = x.grad().to(Device{}), drow = row.grad().to(Device{});
    CHECK(
        test::same_values(dx, Tensor::from(std::vector<float>{5.5f, 10.5f, 5.5f, 10.5f}, {2, 2})));
    CHECK(test::same_values(drow, Tensor::from(std::vector<float>{1.0f, 2.0f}, {2})));
  }
}

TEST_CASE("one operand twice, and a result that is used twice") {
  const Variable x(Tensor::from(std::vector<float>{3, -2}, {2}), true);
  const Variable y = x * x;
  backward(y + y - x, Tensor::full({2}, 1.0));
  CHECK(test::same_values(x.grad(), Tensor::from(std::vector<float>{11, -9}, {2})));
}

TEST_CASE("arithmetic cpu: 1 and 2 threads give the same bits") {
  const Tensor a = test::normals({37, 2003}, 1), b = test::normals({37, 1}, 2);
  for (const Function function : kFunctions) {
    const auto run = [&] { return function(Variable(a), Variable(b)).value(); };
    CHECK(test::same_values(test::with_threads(1, run), test::with_threads(2, run)));
  }
}

TEST_CASE("arithmetic that does not fit names the operation, the shapes and the rule") {
  const Variable x(Tensor::zeros({2, 3}));
  CHECK_THROWS_WITH_AS(x + Variable(Tensor::zeros({2, 4})),
                       doctest::Contains("[add] shapes 2x3 and 2x4: 3 and 4"), Error);
  CHECK_THROWS_WITH_AS(x * Variable(Tensor::zeros({2, 3}, DType::f64)),
                       doctest::Contains("[mul] 2x3 f32 and 2x3 f64"), Error);
  CHECK_THROWS_WITH_AS(x / Variable(Tensor::zeros({3}, DType::f32, {DeviceKind::sim, 0})),
                       doctest::Contains("[div] 2x3 is on cpu, 3 on sim:0"), Error);
  CHECK_THROWS_WITH_AS(Variable() - x, doctest::Contains("[sub] no first operand"), Error);
}
