#include <doctest/doctest.h>

#include <cmath>
#include <iostream>

#include "engine/runtime/parallel.h"
#include "kernels/pool/cases.h"
#include "kernels/pool/pool.h"
#include "tests/support/check.h"
#include "tests/support/on_device.h"

using namespace thorax;
using test::as_slice;
using test::poisoned;
using test::same_values;

namespace {

const PoolProvider& reference() {
  return pool_providers().named("reference");
}

// Where every element sits and what surrounds it: the value's own bound would not do for an
// average, whose terms may cancel.
Tensor magnitudes(const Tensor& t) {
  const Tensor result = t.to_contiguous().to(DType::f64).clone();
  for (std::int64_t i = 0; i < result.numel(); ++i)
    result.data<double>()[i] = std::abs(result.data<double>()[i]);
  return result;
}

double worst_share(const Tensor& got, const Tensor& want, const Tensor& bound, double factor) {
  const test::Rounding last =
      size_of(got.dtype()) == 2 ? test::rounding_of(got.dtype()) : test::Rounding{0, 0};
  const Tensor a = test::back(got).to(DType::f64);
  double worst = 0;
  for (std::int64_t i = 0; i < a.numel(); ++i) {
    const double error = std::abs(a.data<double>()[i] - want.data<double>()[i]);
    if (error == 0) continue;
    const double share =
        error / (factor * bound.data<double>()[i] +
                 1.01 * last.relative * std::abs(want.data<double>()[i]) + last.absolute);
    worst = std::isnan(share) ? INFINITY : std::max(worst, share);
  }
  return worst;
}

}  // namespace

TEST_CASE("pool: every provider against the reference, bit for bit on whole numbers") {
  for (const PoolProvider& provider : pool_providers().all()) {
    const Device device = test::device_of(provider);
    int ran = 0;
    for (const PoolProblem& exact : pool_cases()) {
      for (const DType dtype : test::kActivationTypes) {
        PoolProblem pr = exact;
        pr.dtype = dtype;
        if (provider.priority(pr) < 0) continue;
        for (const bool sliced : {false, true}) {
          // Simulated threads take their time: one half-sized type for slices, one for the rest.
          if (dtype == (sliced ? DType::f16 : DType::bf16)) continue;
          ++ran;
          CAPTURE(provider.name);
          CAPTURE(pr.to_string());
          CAPTURE(sliced);
          const auto output = [&](const Shape& shape) {
            return test::destination(shape, device, sliced, dtype);
          };
          const bool max = pr.kind == PoolKind::max;
          // Few different values: ties in almost every window. Averages whose divisor is no power
          // of two round; they are held against a bound below.
          const Tensor values = test::integers(pr.input_shape(), 3, 1);
          const Tensor x = test::placed(values, device, sliced, dtype);
          const Tensor y = output(pr.output_shape()), want = poisoned(pr.output_shape());
          const Tensor argmax =
              max ? Tensor::full(pr.output_shape(), 255, DType::u8, device) : Tensor{};
          const Tensor want_argmax =
              max ? Tensor::full(pr.output_shape(), 254, DType::u8) : Tensor{};
          provider.forward(pr, x, y, argmax);
          reference().forward(exact, values, want, want_argmax);
          if (max) {
            CHECK(same_values(y, want));
            CHECK(same_values(argmax, want_argmax));
            const Tensor without = output(pr.output_shape());
            provider.forward(pr, x, without, {});
            CHECK(same_values(without, want));
          }
          const Tensor gradient = test::integers(pr.output_shape(), 9, 2);
          const Tensor dx = output(pr.input_shape()), want_dx = poisoned(pr.input_shape());
          provider.backward(pr, test::placed(gradient, device, sliced, dtype),
                            max ? want_argmax.to(device) : Tensor{}, dx);
          reference().backward(exact, gradient, want_argmax, want_dx);
          const bool power_of_two = pr.kernel_h == pr.kernel_w && pr.pad_h == 0 && !pr.ceil_mode &&
                                    (pr.kernel_h & (pr.kernel_h - 1)) == 0;
          if (max || power_of_two) {
            CHECK(same_values(y, test::rounded(want, dtype)));
            CHECK(same_values(dx, test::rounded(want_dx, dtype)));
          }
          if (dtype == DType::f32) CHECK(test::neighbours_untouched(y));
          if (dtype == DType::f32) CHECK(test::neighbours_untouched(dx));
        }
      }
    }
    CHECK(ran > 0);
  }
}

TEST_CASE("pool: averages of random values within their bound") {
  for (const PoolProvider& provider : pool_providers().all()) {
    double worst = 0;
    const Device device = test::device_of(provider);
    const auto check_averages = [&](PoolProblem pr, DType dtype) {
      pr.dtype = dtype;
      if (provider.priority(pr) < 0 || pr.kind != PoolKind::avg) return;
      const Tensor x = test::rounded(test::normals(pr.input_shape(), 1), dtype),
                   dy = test::rounded(test::normals(pr.output_shape(), 2), dtype);
      const Tensor y = poisoned(pr.output_shape(), dtype, device),
                   dx = poisoned(pr.input_shape(), dtype, device);
      provider.forward(pr, test::placed(x, device, false, dtype), y, {});
      provider.backward(pr, test::placed(dy, device, false, dtype), {}, dx);
      pr.dtype = DType::f64;
      const auto want = [&](const auto& run, const Tensor& from, const Shape& shape) {
        const Tensor result = poisoned(shape, DType::f64);
        run(from, result);
        return result;
      };
      const auto forward = [&](const Tensor& a, const Tensor& b) {
        reference().forward(pr, a, b, {});
      };
      const auto backward = [&](const Tensor& a, const Tensor& b) {
        reference().backward(pr, a, {}, b);
      };
      // A float sum of k terms: k + 2 roundings of the mean magnitude.
      const double taps = static_cast<double>(pr.kernel_h * pr.kernel_w);
      const double factor = (taps + 2) * 0x1p-24;
      const double f = worst_share(y, want(forward, x.to(DType::f64), pr.output_shape()),
                                   want(forward, magnitudes(x), pr.output_shape()), factor);
      const double b = worst_share(dx, want(backward, dy.to(DType::f64), pr.input_shape()),
                                   want(backward, magnitudes(dy), pr.input_shape()), factor);
      CAPTURE(provider.name);
      CAPTURE(pr.to_string());
      CHECK(f <= 1);
      CHECK(b <= 1);
      worst = std::max({worst, f, b});
    };
    for (const PoolProblem& pr : pool_cases())
      for (const DType dtype : test::kActivationTypes) check_averages(pr, dtype);
    std::cout << fmt::format("pool {}: averages, worst error {:.3f} of the bound\n", provider.name,
                             worst);
  }
}

TEST_CASE("pool: NaN and infinity, first maximum, padding of averages") {
  const float nan = NAN, inf = INFINITY;
  for (const PoolProvider& provider : pool_providers().all()) {
    const ProviderScope scope("pool", provider.name);
    const Device device = test::device_of(provider);
    CAPTURE(provider.name);
    for (const std::int64_t channels : {1, 8}) {
      // oneDNN's maximum is not offered: a NaN would get lost in it.
      if (provider.priority(pool_case(PoolKind::max, {1, 2, 8, channels}, 2, 2, 0)) < 0) continue;
      // One window of 2 x 2 per column; all channels alike, so that vector lanes are covered too.
      const std::vector<float> top{1, nan, -inf, 5, 2, 2, -3, -3},
          bottom{nan, 7, -inf, -inf, 2, 2, -1, -2};
      std::vector<float> values;
      for (const auto& line : {top, bottom})
        for (const float v : line)
          for (std::int64_t c = 0; c < channels; ++c) values.push_back(v);
      const Variable x(Tensor::from(values, {1, 2, 8, channels}).to(device), true);
      const Variable y = max_pool2d(x, {.kernel = 2});
      const Tensor maxima = y.value().to(Device{});
      for (std::int64_t c = 0; c < channels; ++c) {
        const float* got = maxima.data<float>() + c;
        CHECK(std::isnan(got[0]));
        CHECK(got[channels] == 5);
        CHECK(got[2 * channels] == 2);
        CHECK(got[3 * channels] == -1);
      }
      backward(y, Tensor::full(y.shape(), 1, DType::f32, device));
      const Tensor gradient = x.grad().to(Device{});
      for (std::int64_t c = 0; c < channels; ++c) {
        const auto at = [&](std::int64_t h, std::int64_t w) {
          return gradient.data<float>()[(h * 8 + w) * channels + c];
        };
        CHECK(at(0, 3) == 1);  // 5 beside infinities
        CHECK(at(0, 4) == 1);  // the first of four equal values
        CHECK(at(0, 5) + at(1, 4) + at(1, 5) == 0);
        CHECK(at(1, 6) == 1);
      }
    }
    const Variable ones(Tensor::full({1, 3, 3, 1}, 9, DType::f32, device));
    const PoolOptions padded{.kernel = 3, .stride = 2, .padding = 1};
    CHECK(avg_pool2d(ones, padded).value().to(Device{}).data<float>()[0] == 4);
    CHECK(avg_pool2d(ones, {.kernel = 3, .stride = 2, .padding = 1, .count_include_pad = false})
              .value()
              .to(Device{})
              .data<float>()[0] == 9);
  }
}

TEST_CASE("pool: the bits do not depend on the number of threads") {
  const int before = num_threads();
  for (const PoolProvider& provider : pool_providers().all()) {
    for (const PoolProblem& pr : {pool_case(PoolKind::max, {2, 64, 50, 18}, 3, 2, 1),
                                  pool_case(PoolKind::avg, {2, 64, 50, 18}, 3, 2, 1),
                                  global_average_case({4, 30, 30, 18})}) {
      if (provider.device != DeviceKind::cpu || provider.priority(pr) < 0) continue;
      const Tensor x = test::normals(pr.input_shape(), 1), dy = test::normals(pr.output_shape(), 2);
      std::vector<Tensor> ys, dxs;
      for (const int threads : {1, 2, 3}) {
        set_num_threads(threads);
        ys.push_back(poisoned(pr.output_shape()));
        dxs.push_back(poisoned(pr.input_shape()));
        const Tensor argmax =
            pr.kind == PoolKind::max ? Tensor::empty(pr.output_shape(), DType::u8) : Tensor{};
        provider.forward(pr, x, ys.back(), argmax);
        provider.backward(pr, dy, argmax, dxs.back());
      }
      set_num_threads(before);
      CAPTURE(provider.name);
      CAPTURE(pr.to_string());
      for (std::size_t i = 1; i < ys.size(); ++i) {
        CHECK(same_values(ys[i], ys[0]));
        CHECK(same_values(dxs[i], dxs[0]));
      }
    }
  }
}

TEST_CASE("pool on a GPU: the bits depend neither on the run nor on the order of threads") {
  for (const PoolProvider& provider : pool_providers().all()) {
    if (provider.device == DeviceKind::cpu) continue;
    const Device device = test::device_of(provider);
    for (const PoolProblem& pr :
         {pool_case(PoolKind::max, {2, 9, 11, 18}, 3, 2, 1),
          pool_case(PoolKind::max, {1, 9, 8, 4}, 2, 2),
          pool_case(PoolKind::avg, {2, 9, 11, 18}, 3, 2, 1), global_average_case({2, 13, 9, 36})}) {
      const Tensor x = test::placed(test::normals(pr.input_shape(), 1), device);
      const Tensor dy = test::placed(test::normals(pr.output_shape(), 2), device);
      const auto results = test::in_every_order([&] {
        const Tensor y = test::destination(pr.output_shape(), device),
                     dx = test::destination(pr.input_shape(), device);
        const Tensor argmax = pr.kind == PoolKind::max
                                  ? Tensor::empty(pr.output_shape(), DType::u8, device)
                                  : Tensor{};
        provider.forward(pr, x, y, argmax);
        provider.backward(pr, dy, argmax, dx);
        return std::pair{y, dx};
      });
      CAPTURE(provider.name);
      CAPTURE(pr.to_string());
      for (const auto& [y, dx] : results) {
        CHECK(same_values(y, results[0].first));
        CHECK(same_values(dx, results[0].second));
      }
    }
  }
}

TEST_CASE("pool on the tape of every device") {
  for (const Device device : test::one_device_a_kind()) {
    const Variable x(test::integers({2, 6, 4, 5}, 9, 1).to(device), true);
    const Variable mean = global_avg_pool(avg_pool2d(max_pool2d(x, {.kernel = 1}), {.kernel = 2}));
    CHECK(mean.value().device() == device);
    backward(mean, Tensor::full({2, 5}, 24, DType::f32, device));
    // 24 / (2 x 2 pixels) / (3 x 2 windows)
    CHECK(same_values(x.grad(), Tensor::full(x.shape(), 1)));
  }
}

TEST_CASE("pool on the tape: a destination slice, sizes as PyTorch's, global average") {
  const Tensor wide = Tensor::full({1, 2, 2, 5}, 7);
  const Variable x(test::integers({1, 4, 4, 3}, 9, 1));
  const Variable y = max_pool2d(x, {.kernel = 2, .out = wide.channel_slice(1, 3)});
  CHECK(y.value().storage() == wide.storage());
  CHECK(same_values(y.value(), max_pool2d(x, {.kernel = 2}).value()));
  CHECK(same_values(wide.channel_slice(0, 1), Tensor::full({1, 2, 2, 1}, 7)));
  CHECK(same_values(wide.channel_slice(4, 1), Tensor::full({1, 2, 2, 1}, 7)));

  // torch: MaxPool2d(3, 2, 1) of 112 -> 56; ceil_mode of 7 with kernel 2 -> 4, without -> 3; the
  // last window of kernel 2, stride 3, padding 1 on 4 would start behind the image.
  const auto size = [](std::int64_t n, std::int64_t k, std::int64_t s, std::int64_t p, bool ceil) {
    return pool_case(PoolKind::max, {1, n, n, 1}, k, s, p, ceil).out_height();
  };
  CHECK(size(112, 3, 2, 1, false) == 56);
  CHECK(size(7, 2, 2, 0, false) == 3);
  CHECK(size(7, 2, 2, 0, true) == 4);
  CHECK(size(4, 2, 3, 1, true) == 2);

  const Variable image(Tensor::from(std::vector<float>{1, 10, 2, 20, 3, 30, 6, 60}, {1, 2, 2, 2}),
                       true);
  const Variable mean = global_avg_pool(image);
  CHECK(mean.shape() == Shape{1, 2});
  CHECK(mean.value().data<float>()[0] == 3);
  CHECK(mean.value().data<float>()[1] == 30);
  backward(mean, Tensor::from(std::vector<float>{4, 8}, {1, 2}));
  CHECK(same_values(image.grad(),
                    Tensor::from(std::vector<float>{1, 2, 1, 2, 1, 2, 1, 2}, {1, 2, 2, 2})));
}

TEST_CASE("pool names what does not fit") {
  const Variable x(test::normals({1, 4, 4, 2}, 1));
  CHECK_THROWS_WITH_AS(max_pool2d(Variable(test::normals({4, 4}, 1)), {}),
                       doctest::Contains("[pool] input must be N x H x W x C, got 4x4"), Error);
  CHECK_THROWS_WITH_AS(max_pool2d(x, {.kernel = 2, .padding = 2}),
                       doctest::Contains("[pool] padding above half of the kernel"), Error);
  CHECK_THROWS_WITH_AS(max_pool2d(x, {.kernel = 5}),
                       doctest::Contains("[pool] kernel is larger than the padded input"), Error);
  CHECK_THROWS_WITH_AS(max_pool2d(Variable(test::normals({1, 20, 20, 1}, 1)), {.kernel = 17}),
                       doctest::Contains("[pool] a max window holds at most 256 pixels"), Error);
  CHECK_THROWS_WITH_AS(max_pool2d(x, {.kernel = 2, .out = Tensor::empty({1, 2, 2, 3})}),
                       doctest::Contains("[pool] destination 1x2x2x3 f32 given for output 1x2x2x2"),
                       Error);
  CHECK_THROWS_WITH_AS(max_pool2d(x, {.kernel = 0}), doctest::Contains("must be positive"), Error);
  CHECK_THROWS_WITH_AS(global_avg_pool(Variable(Tensor::empty({2, 0, 3, 4}))),
                       doctest::Contains("no pixels"), Error);
  CHECK_THROWS_WITH_AS(Shape({1LL << 40, 1LL << 40}), doctest::Contains("too many elements"),
                       Error);
}
