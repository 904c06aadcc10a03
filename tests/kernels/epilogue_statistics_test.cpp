// Statistics for batch norm from the epilogue of a convolution on a GPU.
#include <doctest/doctest.h>

#include <cmath>

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/conv2d/cases.h"
#include "kernels/conv2d/conv2d.h"
#include "tests/support/check.h"
#include "tests/support/on_device.h"

using namespace thorax;
using conv2d_cases::Case;

namespace {

struct Statistics {
  std::vector<double> mean, variance;
};

// Chan's formula over the chunks.
Statistics merged(const ChannelParts& parts, std::int64_t pixels) {
  const Tensor values = parts.values.to(Device{});
  const std::int64_t chunks = values.size(0), channels = values.size(2);
  Statistics s{std::vector<double>(static_cast<std::size_t>(channels)), {}};
  s.variance = s.mean;
  const auto weight = [&](std::int64_t k) {
    return static_cast<double>(std::min(parts.chunk_pixels, pixels - k * parts.chunk_pixels)) /
           static_cast<double>(pixels);
  };
  for (std::int64_t c = 0; c < channels; ++c) {
    double &mean = s.mean[static_cast<std::size_t>(c)],
           &var = s.variance[static_cast<std::size_t>(c)];
    const auto at = [&](std::int64_t k, int which) {
      return static_cast<double>(values.data<float>()[(k * 3 + which) * channels + c]);
    };
    const auto mean_of = [&](std::int64_t k) { return at(k, 0) + at(k, 1); };
    for (std::int64_t k = 0; k < chunks; ++k) mean += weight(k) * mean_of(k);
    for (std::int64_t k = 0; k < chunks; ++k)
      var += at(k, 2) / static_cast<double>(pixels) + weight(k) * std::pow(mean_of(k) - mean, 2);
  }
  return s;
}

Statistics exact(const Tensor& y) {
  const Tensor values = y.to(Device{}).to_contiguous();
  const std::int64_t pixels = values.pixels(), channels = values.channels();
  Statistics s{std::vector<double>(static_cast<std::size_t>(channels)), {}};
  s.variance = s.mean;
  for (int pass = 0; pass < 2; ++pass)
    for (std::int64_t i = 0; i < pixels * channels; ++i) {
      const auto c = static_cast<std::size_t>(i % channels);
      const double v = values.data<float>()[i], n = static_cast<double>(pixels);
      if (pass == 0) s.mean[c] += v / n;
      if (pass == 1) s.variance[c] += (v - s.mean[c]) * (v - s.mean[c]) / n;
    }
  return s;
}

Conv2dProblem plain(Conv2dProblem p) {
  p.bias = p.relu = p.residual = false;
  return p;
}

}  // namespace

// The sums are of floats: at most 8 in a thread, 3 additions on the way through a warp, 7 over at
// most 8 warps, and a division: 19 roundings of 2^-24, of values as large as the distance from a
// row.
TEST_CASE("conv2d with statistics: the same y, and mean and variance of its channels") {
  int made = 0, left = 0;
  std::vector<Case> cases = conv2d_cases::awkward();
  for (const Case& c : conv2d_cases::hrnet(18, 32, 2))
    if (c.problem.flops() < 5e6) cases.push_back(c);
  cases.push_back({"whole tiles", conv2d_cases::detail::problem(1, 64, 8, 64, 1, 1)});
  for (const Conv2dProvider& provider : conv2d_providers().all()) {
    if (provider.forward_with_statistics == nullptr) continue;
    const Device device = test::device_of(provider);
    for (const Case& c : cases) {
      const Conv2dProblem p = plain(c.problem);
      if (provider.priority(p) < 0 || p.output_shape().numel() == 0) continue;
      CAPTURE(provider.name);
      CAPTURE(c.name);
      // Far from zero, where a sum of squares would lose everything.
      Tensor x = test::normals(p.input_shape(), 1), w = test::normals(p.filter_shape(), 2);
      for (std::int64_t i = 0; i < x.numel(); ++i) x.data<float>()[i] += 30;
      const Tensor there = x.to(device), filter = w.to(device);
      const Tensor want = test::poisoned(p.output_shape(), DType::f32, device),
                   y = test::poisoned(p.output_shape(), DType::f32, device);
      provider.forward(p, there, filter, {}, {}, want);
      ChannelParts parts;
      provider.forward_with_statistics(p, there, filter, y, parts);
      CHECK(test::same_values(y.to(Device{}), want.to(Device{})));
      if (!parts.values.defined()) {
        ++left;
        continue;
      }
      ++made;
      const Statistics got = merged(parts, y.pixels()), wanted = exact(y);
      for (std::size_t k = 0; k < wanted.mean.size(); ++k) {
        CAPTURE(k);
        const double spread = std::sqrt(wanted.variance[k]);
        // A tile's first row may be a few deviations from the mean.
        CHECK(std::abs(got.mean[k] - wanted.mean[k]) <=
              19 * 0x1p-24 * (8 * spread + std::abs(wanted.mean[k]) * 0x1p-20) + 1e-12);
        CHECK(std::abs(got.variance[k] - wanted.variance[k]) <=
              38 * 0x1p-24 * 65 * wanted.variance[k] + 1e-12);
      }
    }
  }
  MESSAGE("statistics made ", made, " times, left to batch norm ", left, " times");
  CHECK(made > 20);
  CHECK(left > 0);  // products cut along their depth
}

TEST_CASE("batch_norm takes statistics that are given, if its provider does") {
  for (const BatchNormProvider& provider : batch_norm_providers().all()) {
    const Device device = test::device_of(provider);
    const ProviderScope scope("batch_norm", provider.name);
    CAPTURE(provider.name);
    const bool takes = provider.forward_from_parts != nullptr;
    CHECK(batch_norm_takes_parts(device.kind) == takes);
    const Tensor x = test::normals({2, 5, 3, 4}, 3).to(device);
    // Of another map: mean 2 and variance 9, two chunks of 16 and 14 pixels.
    Tensor values = Tensor::empty({2, 3, 4}, DType::f32);
    float* v = values.data<float>();
    for (std::int64_t c = 0; c < 4; ++c) {
      v[c] = 5;
      v[4 + c] = -3;
      v[8 + c] = 9 * 16;
      v[12 + c] = 1;
      v[16 + c] = 1;
      v[20 + c] = 9 * 14;
    }
    ChannelParts parts{values.to(device), 16};
    const BatchNormState state{Tensor::zeros({4}, DType::f32, device),
                               Tensor::zeros({4}, DType::f32, device), 1.0};
    const Variable weight(Tensor::full({4}, 1, DType::f32, device)),
        bias(Tensor::zeros({4}, DType::f32, device));
    const Tensor y =
        batch_norm(Variable(x), weight, bias, state, {.statistics = parts}).value().to(Device{});
    if (takes) {
      CHECK(state.running_mean.to(Device{}).data<float>()[1] == 2);
      CHECK(state.running_var.to(Device{}).data<float>()[2] == doctest::Approx(9 * 30.0 / 29));
      CHECK(y.data<float>()[5] ==
            doctest::Approx((x.to(Device{}).data<float>()[5] - 2) / std::sqrt(9 + 1e-5)));
      parts.chunk_pixels = 8;
      CHECK_THROWS_AS(batch_norm(Variable(x), weight, bias, state, {.statistics = parts}), Error);
    } else {
      CHECK(std::abs(state.running_mean.to(Device{}).data<float>()[1]) < 1);
    }
  }
}
