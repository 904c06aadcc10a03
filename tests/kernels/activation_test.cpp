#include "kernels/activation/activation.h"

#include <doctest/doctest.h>

#include "engine/autograd/gradcheck.h"
#include "kernels/activation/cases.h"
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
