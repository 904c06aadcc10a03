#include "kernels/softmax/softmax.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "engine/autograd/gradcheck.h"
#include "kernels/softmax/cases.h"
#include "tests/support/check.h"
#include "tests/support/on_device.h"
#include "tests/support/threads.h"

using namespace thorax;

TEST_CASE("every softmax provider against the reference") {
  const SoftmaxProvider& reference = softmax_providers().named("reference");
  for (const Shape& shape : softmax_cases::all()) {
    for (const bool log : {false, true}) {
      for (const DType dtype : test::kActivationTypes) {
        const SoftmaxProblem exact{.shape = shape, .log = log};
        SoftmaxProblem problem = exact;
        problem.dtype = dtype;
        const Tensor x = test::rounded(test::normals(shape, 1, DType::f32, 4.0), dtype);
        const Tensor dy = test::rounded(test::normals(shape, 2), dtype);
        const Tensor y = Tensor::empty(shape), dx = Tensor::empty(shape);
        reference.forward(exact, x, y);
        const Tensor kept = test::rounded(y, dtype);
        reference.backward(exact, dy, kept, dx);
        for (const SoftmaxProvider& provider : softmax_providers().all()) {
          if (provider.priority(problem) < 0) continue;
          CAPTURE(provider.name);
          CAPTURE(problem.to_string());
          for (const bool sliced : {false, true}) {
            const bool slice = sliced && shape.numel() > 0;
            const Device device = test::device_of(provider);
            const auto there = [&](const Tensor& t) {
              return test::placed(t, device, slice, dtype);
            };
            const Tensor got = test::destination(shape, device, slice, dtype);
            const Tensor got_dx = test::destination(shape, device, slice, dtype);
            provider.forward(problem, there(x), got);
            provider.backward(problem, there(dy), there(kept), got_dx);
            // Differences of logits up to 40 are rounded before exp: 40 * 2^-24 relative, and a
            // few roundings more. The gradient's sum is at most sum |dy y| <= 5, or of a thousand
            // dy below 200 with log.
            const test::Rounding last = test::rounding_of(dtype);
            const double u = 0x1p-24, relative = 48 * u + 1.001 * last.relative;
            CHECK(test::difference(test::back(got), y, last.absolute + (log ? 48 * u : 0), relative)
                      .worst <= 1);
            CHECK(test::difference(test::back(got_dx), dx, last.absolute + (log ? 200 : 5) * 8 * u,
                                   8 * u + 1.001 * last.relative)
                      .worst <= 1);
          }
        }
      }
    }
  }
}

TEST_CASE("softmax of large, equal and bad logits, on every device") {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Tensor x =
      Tensor::from(std::vector<float>{1000, 1000, -1000, -infinity, 0, 0, 1, nan, 2}, {3, 3});
  for (const Device device : test::one_device_a_kind()) {
    const Tensor y = softmax(Variable(x.to(device))).value().to(Device{});
    const float* p = y.data<float>();
    CHECK(p[0] == 0.5f);
    CHECK(p[1] == 0.5f);
    CHECK(p[2] == 0);
    CHECK(p[3] == 0);
    CHECK(p[4] == 0.5f);
    for (int i = 6; i < 9; ++i) CHECK(std::isnan(p[i]));
    const Tensor logs = log_softmax(Variable(x.to(device))).value().to(Device{});
    CHECK(logs.data<float>()[0] == doctest::Approx(-std::log(2.0)));
    CHECK(logs.data<float>()[2] == doctest::Approx(-2000 - std::log(2.0)));
    CHECK(logs.data<float>()[3] == -infinity);
  }
}

TEST_CASE("softmax along any axis: float64 gradient check and sums of 1") {
  const Tensor x = test::normals({3, 4, 5}, 1, DType::f64);
  for (const int axis : {-1, 0, 1}) {
    for (const auto& function : {softmax, log_softmax}) {
      const GradcheckResult result =
          gradcheck([&](const std::vector<Variable>& in) { return function(in[0], axis); }, {x});
      CAPTURE(result.message);
      CHECK(result.ok);
    }
  }
  const Tensor y = softmax(Variable(x), 1).value();
  for (int c = 0; c < 5; ++c) {
    double total = 0;
    for (int row = 0; row < 4; ++row) total += y.data<double>()[row * 5 + c];
    CHECK(total == doctest::Approx(1));
  }
  CHECK_THROWS_WITH_AS(softmax(Variable(x), 3), doctest::Contains("[softmax] axis 3 of 3x4x5"),
                       Error);
}

TEST_CASE("softmax cpu: 1 and 2 threads give the same bits") {
  const Tensor x = test::normals({500, 37}, 1);
  const auto run = [&] { return softmax(Variable(x)).value(); };
  CHECK(test::same_values(test::with_threads(1, run), test::with_threads(2, run)));
}
