#include "kernels/dropout/dropout.h"

#include <doctest/doctest.h>

#include "engine/autograd/gradcheck.h"
#include "kernels/activation/cases.h"
#include "tests/support/check.h"
#include "tests/support/on_device.h"
#include "tests/support/threads.h"

using namespace thorax;

namespace {

Tensor run(const DropoutProvider& provider, const DropoutProblem& p, const Tensor& x, bool sliced) {
  const Device device = test::device_of(provider);
  const Tensor y = test::destination(p.shape, device, sliced, p.dtype);
  provider.run(p, test::placed(x, device, sliced, p.dtype), y);
  return test::back(y);
}

}  // namespace

TEST_CASE("every dropout provider equals the reference, bit for bit") {
  const DropoutProvider& reference = dropout_providers().named("reference");
  for (const Shape& shape : elementwise_cases::all()) {
    for (const double p : {0.1, 0.5, 0.9, 1.0}) {
      for (const DType dtype : test::kActivationTypes) {
        // Seeds and streams beyond 32 bits, so that both halves of the counter matter.
        const DropoutProblem exact{
            .shape = shape, .p = p, .seed = 0x123456789abcdefULL, .stream = 0xfedcba9876543ULL};
        DropoutProblem problem = exact;
        problem.dtype = dtype;
        const Tensor x = test::rounded(test::normals(shape, 1), dtype);
        for (const bool sliced : {false, true}) {
          // 16 bits: the float product, rounded.
          const Tensor wanted = test::rounded(run(reference, exact, x, sliced), dtype);
          for (const DropoutProvider& provider : dropout_providers().all()) {
            if (provider.priority(problem) < 0) continue;
            CAPTURE(provider.name);
            CAPTURE(problem.to_string());
            CHECK(test::same_values(run(provider, problem, x, sliced), wanted));
          }
        }
      }
    }
  }
}

TEST_CASE("dropout on the tape of every device: the same pattern both ways") {
  std::vector<Tensor> values, gradients;
  for (const Device device : test::one_device_a_kind()) {
    const Variable x(test::normals({7, 5, 6}, 1).to(device), true);
    const Variable y = dropout(x, 0.4, true, 11, 3);
    backward(y, test::normals({7, 5, 6}, 2).to(device));
    values.push_back(y.value());
    gradients.push_back(x.grad());
    CHECK(test::same_values(values.back(), values[0]));
    CHECK(test::same_values(gradients.back(), gradients[0]));
  }
}

TEST_CASE("dropout keeps element i by Philox word i, scaled") {
  const Variable ones(Tensor::full({1000}, 1.0));
  const Tensor y = dropout(ones, 0.25, true, 5, 9).value();
  for (std::int64_t i = 0; i < 1000; ++i) {
    const std::uint32_t word =
        philox4x32(5, 9, static_cast<std::uint64_t>(i) / 4)[static_cast<std::size_t>(i % 4)];
    CHECK(y.data<float>()[i] == (word >= 0x40000000u ? 1.0f / 0.75f : 0.0f));
  }
}

TEST_CASE("dropout drops the share it was asked for and keeps the mean") {
  const std::int64_t count = 1 << 20;
  for (const double p : {0.1, 0.5, 0.8}) {
    const Tensor y = dropout(Variable(Tensor::full({count}, 1.0)), p, true, 1, 2).value();
    std::int64_t dropped = 0;
    for (std::int64_t i = 0; i < count; ++i) dropped += y.data<float>()[i] == 0;
    // Five standard deviations of a binomial share.
    const double deviation = std::sqrt(p * (1 - p) / static_cast<double>(count));
    CHECK(std::abs(static_cast<double>(dropped) / static_cast<double>(count) - p) < 5 * deviation);
  }
}

TEST_CASE("dropout: other seeds and streams give other patterns, the same one the same bits") {
  const Variable x(test::normals({4096}, 1));
  const Tensor y = dropout(x, 0.5, true, 1, 2).value();
  CHECK(test::same_values(dropout(x, 0.5, true, 1, 2).value(), y));
  CHECK(!test::same_values(dropout(x, 0.5, true, 1, 3).value(), y));
  CHECK(!test::same_values(dropout(x, 0.5, true, 2, 2).value(), y));
  const auto big = [] {
    return dropout(Variable(test::normals({50001}, 3)), 0.3, true, 7, 7).value();
  };
  CHECK(test::same_values(test::with_threads(1, big), test::with_threads(2, big)));
}

TEST_CASE("dropout is the identity outside training and for p = 0, zero for p = 1") {
  const Variable x(test::normals({50}, 1), true);
  CHECK(dropout(x, 0.5, false, 1, 1).same_as(x));
  CHECK(dropout(x, 0.0, true, 1, 1).same_as(x));
  const float infinity = std::numeric_limits<float>::infinity();
  const Tensor all = dropout(Variable(Tensor::full({50}, infinity)), 1.0, true, 1, 1).value();
  CHECK(test::same_values(all, Tensor::zeros({50})));
}

TEST_CASE("dropout reference: float64 gradient check") {
  const ProviderScope reference("dropout", "reference");
  const GradcheckResult result =
      gradcheck([](const std::vector<Variable>& in) { return dropout(in[0], 0.4, true, 11, 3); },
                {test::normals({5, 9}, 1, DType::f64)});
  CAPTURE(result.message);
  CHECK(result.ok);
}

TEST_CASE("dropout names a probability that is none") {
  const Variable x(test::normals({2, 3}, 1));
  for (const double p : {-0.1, 1.5, std::numeric_limits<double>::quiet_NaN()})
    CHECK_THROWS_WITH_AS(dropout(x, p, true, 1, 1), doctest::Contains("[dropout] probability"),
                         Error);
}
