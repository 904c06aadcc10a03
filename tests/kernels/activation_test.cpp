#include "kernels/activation/activation.h"

#include <doctest/doctest.h>

#include "engine/autograd/gradcheck.h"
#include "kernels/activation/cases.h"
#include "kernels/activation/unary.h"
#include "kernels/binary/binary.h"
#include "kernels/permute/permute.h"
#include "tests/support/check.h"
#include "tests/support/on_device.h"
#include "tests/support/threads.h"

using namespace thorax;

namespace {

// A few units of the smallest subnormal float.
constexpr double kSubnormal = 4 * 0x1p-149;

// A rank-1 tensor has no slices; any other is given as one, if asked for.
Tensor forward(const ActivationProvider& provider, const ActivationProblem& p, const Tensor& x,
               bool sliced) {
  const Device device = test::device_of(provider);
  const Tensor y = test::destination(p.shape, device, sliced, p.dtype);
  provider.forward(p, test::placed(x, device, sliced, p.dtype), y);
  CHECK((size_of(p.dtype) == 2 || test::neighbours_untouched(y)));
  return test::back(y);
}

Tensor backward(const ActivationProvider& provider, const ActivationProblem& p, const Tensor& dy,
                const Tensor& y, bool sliced) {
  const Device device = test::device_of(provider);
  const Tensor dx = test::destination(p.shape, device, sliced, p.dtype);
  provider.backward(p, test::placed(dy, device, sliced, p.dtype),
                    test::placed(y, device, sliced, p.dtype), dx);
  return test::back(dx);
}

}  // namespace

TEST_CASE("every activation provider against the reference") {
  const ActivationProvider& reference = activation_providers().named("reference");
  for (const Shape& shape : elementwise_cases::all()) {
    for (const ActivationKind kind : {ActivationKind::relu, ActivationKind::sigmoid}) {
      for (const DType dtype : test::kActivationTypes) {
        const ActivationProblem exact{.kind = kind, .shape = shape};
        ActivationProblem problem = exact;
        problem.dtype = dtype;
        for (const bool slices : {false, true}) {
          // Some logits are so large that a sigmoid is subnormal.
          const Tensor x =
              test::rounded(test::normals(shape, 1, DType::f32, slices ? 30.0 : 3.0), dtype);
          const Tensor dy = test::rounded(test::normals(shape, 2), dtype);
          const Tensor y = forward(reference, exact, x, slices);
          // The gradient is a function of y as it is kept.
          const Tensor kept = test::rounded(y, dtype);
          const Tensor dx = backward(reference, exact, dy, kept, slices);
          for (const ActivationProvider& provider : activation_providers().all()) {
            if (provider.priority(problem) < 0) continue;
            CAPTURE(provider.name);
            CAPTURE(problem.to_string());
            // relu only selects. sigmoid: exp within 2 roundings, then a sum, a quotient, a
            // product; its gradient is a difference and two products. 16 bits round once more.
            const bool select = kind == ActivationKind::relu;
            const double rounding = select ? 0 : 0x1p-24;
            const test::Rounding last =
                dtype == DType::f32 || select ? test::Rounding{0, 0} : test::rounding_of(dtype);
            const Tensor got = forward(provider, problem, x, slices);
            CHECK(test::difference(got, y, kSubnormal + last.absolute,
                                   8 * rounding + 1.001 * last.relative)
                      .worst <= 1);
            const Tensor got_dx = backward(provider, problem, dy, kept, slices);
            CHECK(test::difference(got_dx, dx, 8 * kSubnormal + last.absolute,
                                   4 * rounding + 1.001 * last.relative)
                      .worst <= 1);
            if (select) CHECK(test::same_values(got, y));
            if (select) CHECK(test::same_values(got_dx, dx));
          }
        }
      }
    }
  }
}

namespace {

// The functions of unary.h with arguments that are worth testing, over positive numbers: how far
// float32 may be off, in units of 2^-24 (the C library's and CUDA's powf: 8).
struct UnaryCase {
  ActivationKind kind;
  double a = 1, b = 0, units = 2;
};
constexpr UnaryCase kUnaryCases[] = {
    {ActivationKind::affine, -0.3, 0.7, 4}, {ActivationKind::exp, 1, 0, 4},
    {ActivationKind::log, 1, 0, 4},         {ActivationKind::sqrt, 1, 0, 4},
    {ActivationKind::abs, 1, 0, 1},         {ActivationKind::power, 2, 0, 4},
    {ActivationKind::power, -1, 0, 4},      {ActivationKind::power, 0.7, 0, 16},
    {ActivationKind::power, 0, 0, 1}};

}  // namespace

TEST_CASE("every provider's unary functions against the reference") {
  const ActivationProvider& reference = activation_providers().named("reference");
  for (const Shape& shape : elementwise_cases::all()) {
    for (const UnaryCase& c : kUnaryCases) {
      for (const DType dtype : test::kActivationTypes) {
        const ActivationProblem exact{.kind = c.kind, .shape = shape, .a = c.a, .b = c.b};
        ActivationProblem problem = exact;
        problem.dtype = dtype;
        // From 0.1 to about 4, so that every function is defined and log is not all rounding.
        const Tensor x =
            test::rounded((abs(Variable(test::normals(shape, 1))) + 0.1).value(), dtype);
        const Tensor dy = test::rounded(test::normals(shape, 2), dtype);
        const Tensor y = forward(reference, exact, x, false);
        const Tensor kept = differentiated_by_output(c.kind) ? test::rounded(y, dtype) : x;
        const Tensor dx = backward(reference, exact, dy, kept, false);
        for (const ActivationProvider& provider : activation_providers().all()) {
          if (provider.priority(problem) < 0) continue;
          CAPTURE(provider.name);
          CAPTURE(problem.to_string());
          for (const bool sliced : {false, true}) {
            const test::Rounding last = test::rounding_of(dtype);
            // log and the affine function cross zero: absolute there.
            const double u = c.units * 0x1p-24, relative = u + 1.001 * last.relative;
            CHECK(test::difference(forward(provider, problem, x, sliced), y, u + last.absolute,
                                   relative)
                      .worst <= 1);
            CHECK(test::difference(backward(provider, problem, dy, kept, sliced), dx, last.absolute,
                                   2 * relative)
                      .worst <= 1);
          }
        }
      }
    }
  }
}

TEST_CASE("unary functions: float64 gradient check, and arithmetic with numbers") {
  const Tensor positive = (abs(Variable(test::normals({17}, 1, DType::f64))) + 0.5).value();
  const auto check = [&](const auto& function) {
    const GradcheckResult result =
        gradcheck([&](const std::vector<Variable>& in) { return function(in[0]); }, {positive});
    CAPTURE(result.message);
    CHECK(result.ok);
  };
  check([](const Variable& x) { return exp(x); });
  check([](const Variable& x) { return log(x); });
  check([](const Variable& x) { return sqrt(x); });
  check([](const Variable& x) { return abs(-x); });
  check([](const Variable& x) { return pow(x, 1.7); });
  check([](const Variable& x) { return 2.0 - 3.0 * x + x / 4.0 - 1.0 + 5.0 / x; });
  const Variable x(Tensor::from(std::vector<double>{4}, {1}));
  CHECK((2.0 - 3.0 * x + x / 4.0 - 1.0 + 8.0 / x).value().item() == -8.0);
  CHECK((1.0 + x).value().item() == 5.0);
  CHECK(pow(x, 0.5).value().item() == 2.0);
}

TEST_CASE("unary functions at the edge of their domain, on every device") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const Device device : test::one_device_a_kind()) {
    const Variable x(Tensor::from(std::vector<float>{0, -1, nan}, {3}).to(device), true);
    const auto at = [](const Variable& y, int i) {
      return y.value().to(Device{}).data<float>()[i];
    };
    CHECK(at(log(x), 0) == -std::numeric_limits<float>::infinity());
    CHECK(std::isnan(at(log(x), 1)));
    CHECK(std::isnan(at(sqrt(x), 1)));
    CHECK(at(abs(x), 1) == 1);
    CHECK(at(exp(x), 0) == 1);
    for (const Variable& y : {log(x), sqrt(x), abs(x), exp(x), pow(x, 2), -x})
      CHECK(std::isnan(at(y, 2)));
    backward(abs(x), Tensor::full({3}, 2.0, DType::f32, device));
    const Tensor dx = x.grad().to(Device{});
    CHECK(dx.data<float>()[0] == 0);
    CHECK(dx.data<float>()[1] == -2);
    CHECK(std::isnan(dx.data<float>()[2]));
  }
}

TEST_CASE("activations at the limits of float32") {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Tensor x = Tensor::from(
      std::vector<float>{-infinity, -1000, -100, -88, -0.0f, 0, 88, 100, infinity, nan}, {10});
  for (const ActivationProvider& provider : activation_providers().all()) {
    CAPTURE(provider.name);
    const ProviderScope scope("activation", provider.name);
    const Variable there(x.to(test::device_of(provider)));
    const Tensor sigmoids = sigmoid(there).value().to(Device{});
    const float* s = sigmoids.data<float>();
    CHECK(s[0] == 0);
    CHECK(s[1] == 0);
    CHECK(s[2] == doctest::Approx(3.78e-44).epsilon(0.05));
    CHECK(s[3] == doctest::Approx(6.0546e-39).epsilon(1e-4));
    CHECK(s[4] == 0.5f);
    CHECK(s[5] == 0.5f);
    for (int i = 6; i < 9; ++i) CHECK(s[i] == 1.0f);
    CHECK(std::isnan(s[9]));
    const Tensor relus = relu(there).value().to(Device{});
    const float* r = relus.data<float>();
    for (int i = 0; i < 6; ++i) CHECK(r[i] == 0);
    CHECK(r[8] == infinity);
    CHECK(std::isnan(r[9]));
  }
}

TEST_CASE("activation cpu: 1 and 2 threads, and any position, give the same bits") {
  const Tensor x = test::normals({100003}, 5, DType::f32, 4.0);
  for (const auto& function : {relu, sigmoid}) {
    const auto run = [&] { return function(Variable(x)).value(); };
    const Tensor one = test::with_threads(1, run), two = test::with_threads(2, run);
    CHECK(test::same_values(one, two));
    const Tensor shifted = function(Variable(x.batch_slice(3, 1000))).value();
    CHECK(test::same_values(shifted, one.batch_slice(3, 1000)));
  }
}

TEST_CASE("activations and reshape on the tape of every device") {
  const Tensor x = test::normals({3, 5, 7, 6}, 1), seed = test::normals({3, 35 * 6}, 2);
  for (const auto& function : {relu, sigmoid}) {
    std::vector<Tensor> gradients;
    for (const Device device : test::one_device_a_kind()) {
      const Variable leaf(x.to(device), true);
      backward(reshape(function(leaf), seed.shape()), seed.to(device));
      CHECK(leaf.grad().device() == device);
      gradients.push_back(leaf.grad());
      CHECK(test::difference(gradients.back(), gradients[0], 1e-6, 1e-6).worst <= 1);
    }
  }
}

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

TEST_CASE("an activation of whole numbers is an error that names the type") {
  CHECK_THROWS_WITH_AS(relu(Variable(Tensor::zeros({3, 2}, DType::i32))),
                       doctest::Contains("relu of 3x2 i32"), Error);
}
