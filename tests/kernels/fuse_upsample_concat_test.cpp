// The operations that only copy and add: upsampling, the fused sum of resolutions, concatenation.
#include <doctest/doctest.h>

#include <cmath>
#include <iostream>

#include "engine/runtime/parallel.h"
#include "kernels/concat/concat.h"
#include "kernels/fuse_multires/cases.h"
#include "kernels/fuse_multires/fuse_multires.h"
#include "kernels/upsample/cases.h"
#include "kernels/upsample/upsample.h"
#include "tests/support/check.h"
#include "tests/support/on_device.h"

using namespace thorax;
using test::as_slice;
using test::integers;
using test::normals;
using test::poisoned;
using test::same_values;

namespace {

// Largest error over factor * bound, element by element.
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

Tensor magnitudes(const Tensor& t) {
  const Tensor result = t.to(DType::f64).clone();
  for (std::int64_t i = 0; i < result.numel(); ++i)
    result.data<double>()[i] = std::abs(result.data<double>()[i]);
  return result;
}

struct FuseRun {
  Tensor y, dz;
  std::vector<Tensor> grads;
};

// Forward and backward of one provider; grads[i] only for the coarse branches.
FuseRun run_fuse(const FuseProvider& provider, const FuseProblem& pr, bool sliced,
                 bool in_place = false) {
  const Device device = test::device_of(provider);
  const auto input = [&](const Tensor& t) { return test::placed(t, device, sliced, pr.dtype); };
  const auto output = [&](const Shape& shape) {
    return test::destination(shape, device, sliced, pr.dtype);
  };
  std::vector<Tensor> branches;
  for (int i = 0; i < pr.branches; ++i)
    branches.push_back(input(integers(pr.branch_shape(i), 9, 10 + static_cast<std::uint64_t>(i))));
  FuseRun run;
  run.y = output(pr.output_shape());
  provider.forward(pr, branches, run.y);
  const Tensor dy = input(integers(pr.output_shape(), 9, 20));
  run.dz = in_place ? dy : output(pr.output_shape());
  for (int i = 0; i < pr.branches; ++i)
    run.grads.push_back(pr.factors[static_cast<std::size_t>(i)] == 1 ? Tensor{}
                                                                     : output(pr.branch_shape(i)));
  provider.backward(pr, dy, pr.relu ? run.y : Tensor{}, run.dz, run.grads);
  if (pr.dtype == DType::f32)
    for (const Tensor& t : {run.y, run.dz}) CHECK(test::neighbours_untouched(t));
  return run;
}

// `want` rounded to the type of `got`: whole numbers beyond 256 have no bf16 of their own.
void check_same(const FuseRun& got, const FuseRun& want) {
  const auto same = [](const Tensor& a, const Tensor& b) {
    return same_values(a, test::rounded(test::back(b), a.dtype()));
  };
  CHECK(same(got.y, want.y));
  CHECK(same(got.dz, want.dz));
  for (std::size_t i = 0; i < want.grads.size(); ++i)
    if (want.grads[i].defined()) CHECK(same(got.grads[i], want.grads[i]));
}

}  // namespace

TEST_CASE("fuse_multires: every provider against the reference, bit for bit") {
  for (const FuseProvider& provider : fuse_providers().all()) {
    int ran = 0;
    for (const FuseProblem& exact : fuse_cases()) {
      const FuseRun want = run_fuse(fuse_providers().named("reference"), exact, false);
      for (const DType dtype : test::kActivationTypes) {
        FuseProblem pr = exact;
        pr.dtype = dtype;
        if (provider.priority(pr) < 0) continue;
        for (const bool sliced : {false, true}) {
          // Simulated threads take their time: one half-sized type for slices, one for the rest.
          if (dtype == (sliced ? DType::f16 : DType::bf16)) continue;
          for (const bool in_place : {false, true}) {
            CAPTURE(provider.name);
            CAPTURE(pr.to_string());
            CAPTURE(sliced);
            CAPTURE(in_place);
            check_same(run_fuse(provider, pr, sliced, in_place), want);
            ++ran;
          }
        }
      }
    }
    CHECK(ran > 0);
  }
}

TEST_CASE("fuse_multires on a GPU: large factors, and the bits in any order of threads") {
  for (const FuseProvider& provider : fuse_providers().all()) {
    if (provider.device == DeviceKind::cpu) continue;
    for (const FuseProblem& pr :
         {fuse_case({1, 64, 64, 8}, {1, 64}), fuse_case({1, 32, 64, 3}, {1, 32, 16}),
          fuse_case({2, 24, 16, 18}, {1, 2, 4, 8})}) {
      const FuseRun want = run_fuse(fuse_providers().named("reference"), pr, false);
      for (const FuseRun& run : test::in_every_order([&] { return run_fuse(provider, pr, true); }))
        check_same(run, want);
    }
    CHECK(provider.priority(fuse_case({1, 96, 96, 3}, {1, 96})) < 0);
  }
}

TEST_CASE("fuse_multires on the tape: random values, shared gradients, threads") {
  const int before = num_threads();
  const Shape fine{2, 16, 24, 18}, coarse{2, 4, 6, 18}, half{2, 8, 12, 18};
  std::vector<std::vector<Tensor>> results;
  for (const char* name : {"reference", "cpu", "cpu"}) {
    const ProviderScope scope("fuse_multires", name);
    set_num_threads(results.size() == 2 ? 1 : 2);
    const std::vector<Variable> in{
        Variable(normals(fine, 1), true), Variable(normals(half, 2), true),
        Variable(normals(fine, 3), true), Variable(normals(coarse, 4), true)};
    const Variable y = fuse_multires(in);
    backward(y, normals(fine, 5));
    results.push_back({y.value(), in[0].grad(), in[1].grad(), in[2].grad(), in[3].grad()});
    CHECK(same_values(in[0].grad(), in[2].grad()));
    // The two gradients are the user's: they may not share memory.
    CHECK(in[0].grad().raw() != in[2].grad().raw());
  }
  set_num_threads(before);
  for (std::size_t i = 0; i < results[0].size(); ++i) {
    CAPTURE(i);
    // Sums of at most 16 values of magnitude up to 5: 16 * 80 * 2^-24.
    CHECK(test::difference(results[1][i], results[0][i], 1e-4).worst <= 1);
    CHECK(same_values(results[2][i], results[1][i]));
  }
}

TEST_CASE("fuse_multires passes a NaN on and names shapes that do not fit") {
  for (const FuseProvider& provider : fuse_providers().all()) {
    const ProviderScope scope("fuse_multires", provider.name);
    const Device device = test::device_of(provider);
    const Tensor bad = Tensor::zeros({1, 2, 2, 8});
    bad.data<float>()[3] = NAN;
    const Tensor y = fuse_multires({Variable(bad.to(device)),
                                    Variable(Tensor::full({1, 1, 1, 8}, -1, DType::f32, device))})
                         .value()
                         .to(Device{});
    CHECK(std::isnan(y.data<float>()[3]));
    CHECK(y.data<float>()[4] == 0);
  }
  const Variable x(normals({1, 8, 8, 4}, 1));
  CHECK_THROWS_WITH_AS(fuse_multires({x}), doctest::Contains("2 to 4 branches, got 1"), Error);
  CHECK_THROWS_WITH_AS(fuse_multires({x, Variable(normals({1, 3, 3, 4}, 1))}),
                       doctest::Contains("[fuse_multires] branch 1 of 1x8x8x4, 1x3x3x4"), Error);
  CHECK_THROWS_WITH_AS(fuse_multires({x, Variable(normals({1, 4, 8, 4}, 1))}),
                       doctest::Contains("no whole fraction of 8x8"), Error);
  CHECK_THROWS_WITH_AS(fuse_multires({x, Variable(normals({1, 4, 4, 5}, 1))}),
                       doctest::Contains("differ in batch, channels or type"), Error);
}

TEST_CASE("fuse_multires on the tape of every device") {
  std::vector<std::vector<Tensor>> results;
  for (const Device device : test::one_device_a_kind()) {
    const std::vector<Variable> in{Variable(integers({2, 8, 8, 6}, 9, 1).to(device), true),
                                   Variable(integers({2, 4, 4, 6}, 9, 2).to(device), true),
                                   Variable(integers({2, 8, 8, 6}, 9, 3).to(device), true)};
    const Variable y = fuse_multires(in);
    backward(y, integers({2, 8, 8, 6}, 9, 4).to(device));
    results.push_back({y.value(), in[0].grad(), in[1].grad(), in[2].grad()});
    for (std::size_t i = 0; i < results[0].size(); ++i) {
      CHECK(results.back()[i].device() == device);
      CHECK(same_values(results.back()[i], results[0][i]));
    }
  }
}

TEST_CASE("upsample: every provider against the reference") {
  for (const UpsampleProvider& provider : upsample_providers().all()) {
    const Device device = test::device_of(provider);
    double worst = 0;
    int ran = 0;
    for (const UpsampleProblem& f32 : upsample_cases()) {
      for (const DType dtype : test::kActivationTypes) {
        UpsampleProblem pr = f32;
        pr.dtype = dtype;
        if (provider.priority(pr) < 0) continue;
        const UpsampleProvider& reference = upsample_providers().named("reference");
        for (const bool sliced : {false, true}) {
          if (dtype == (sliced ? DType::f16 : DType::bf16)) continue;
          ++ran;
          CAPTURE(provider.name);
          CAPTURE(pr.to_string());
          CAPTURE(sliced);
          const bool nearest = pr.mode == UpsampleMode::nearest;
          const auto values = [&](const Shape& shape, std::uint64_t seed) {
            return nearest ? integers(shape, 99, seed) : test::rounded(normals(shape, seed), dtype);
          };
          const Tensor x = values(pr.input_shape(), 1), dy = values(pr.output_shape(), 2);
          const Tensor y = test::destination(pr.output_shape(), device, sliced, dtype),
                       dx = test::destination(pr.input_shape(), device, sliced, dtype);
          provider.forward(pr, test::placed(x, device, sliced, dtype), y);
          provider.backward(pr, test::placed(dy, device, sliced, dtype), dx);
          if (dtype == DType::f32) CHECK(test::neighbours_untouched(y));
          if (dtype == DType::f32) CHECK(test::neighbours_untouched(dx));
          UpsampleProblem exact = pr;
          exact.dtype = DType::f64;
          const auto run = [&](auto pass, const Tensor& from, const Shape& shape) {
            const Tensor result = poisoned(shape, DType::f64);
            pass(exact, from, result);
            return result;
          };
          const Tensor want = run(reference.forward, x.to(DType::f64), pr.output_shape());
          const Tensor want_dx = run(reference.backward, dy.to(DType::f64), pr.input_shape());
          if (nearest) {
            CHECK(same_values(y, test::rounded(want, dtype)));
            CHECK(same_values(dx, test::rounded(want_dx, dtype)));
            continue;
          }
          // Four terms; a weight is rounded once, or is a product of two rounded ones. Backward: as
          // many terms as output pixels in reach.
          const double f = worst_share(
              y, want, run(reference.forward, magnitudes(x), pr.output_shape()), 8 * 0x1p-24);
          const double reach =
              static_cast<double>((2 * pr.out_height / std::max<std::int64_t>(1, pr.height) + 2) *
                                  (2 * pr.out_width / std::max<std::int64_t>(1, pr.width) + 2));
          const double b =
              worst_share(dx, want_dx, run(reference.backward, magnitudes(dy), pr.input_shape()),
                          (reach + 4) * 0x1p-24);
          CHECK(f <= 1);
          CHECK(b <= 1);
          worst = std::max({worst, f, b});
        }
      }
    }
    CHECK(ran > 0);
    std::cout << fmt::format("upsample {} {}: {} runs, bilinear worst error {:.3f} of the bound\n",
                             name_of(provider.device), provider.name, ran, worst);
  }
}

TEST_CASE("upsample: known values, zero weights, threads, errors") {
  for (const UpsampleProvider& provider : upsample_providers().all()) {
    const ProviderScope scope("upsample", provider.name);
    CAPTURE(provider.name);
    const Device device = test::device_of(provider);
    const Variable line(Tensor::from(std::vector<float>{0, 4}, {1, 1, 2, 1}).to(device));
    // torch.nn.functional.interpolate of [0, 4] to 4 values.
    CHECK(same_values(upsample_bilinear(line, 1, 4).value(),
                      Tensor::from(std::vector<float>{0, 1, 3, 4}, {1, 1, 4, 1})));
    CHECK(same_values(upsample_bilinear(line, 1, 5, true).value(),
                      Tensor::from(std::vector<float>{0, 1, 2, 3, 4}, {1, 1, 5, 1})));
    CHECK(same_values(upsample_nearest(line, 2).value(),
                      Tensor::from(std::vector<float>{0, 0, 4, 4, 0, 0, 4, 4}, {1, 2, 4, 1})));
    const Variable infinite(Tensor::from(std::vector<float>{2, INFINITY}, {1, 1, 2, 1}).to(device));
    CHECK(upsample_bilinear(infinite, 1, 3, true).value().to(Device{}).data<float>()[0] == 2);

    const int before = num_threads();
    std::vector<Tensor> ys, dxs;
    for (const int threads : {1, 2}) {
      set_num_threads(threads);
      const Variable x(normals({3, 20, 21, 18}, 1).to(device), true);
      ys.push_back(upsample_bilinear(x, 47, 64).value());
      backward(upsample_bilinear(x, 47, 64), normals({3, 47, 64, 18}, 2).to(device));
      dxs.push_back(x.grad());
    }
    set_num_threads(before);
    CHECK(same_values(ys[1], ys[0]));
    CHECK(same_values(dxs[1], dxs[0]));
  }
  const Variable x(normals({1, 4, 4, 2}, 1));
  CHECK_THROWS_WITH_AS(upsample_nearest(x, 0), doctest::Contains("[upsample] factor 0"), Error);
  CHECK_THROWS_WITH_AS(upsample_bilinear(x, 0, 4), doctest::Contains("sizes must be positive"),
                       Error);
  CHECK_THROWS_WITH_AS(upsample_nearest(Variable(normals({4, 4}, 1)), 2),
                       doctest::Contains("[upsample] input must be N x H x W x C, got 4x4"), Error);
  CHECK_THROWS_WITH_AS(upsample_nearest(x, 2147483647), doctest::Contains("too many elements"),
                       Error);
}

TEST_CASE("concat is a view where the parts lie side by side") {
  const std::vector<std::int64_t> channels{3, 1, 4};
  const ConcatBuffer buffer = concat_buffer(2, 3, 2, channels);
  std::vector<Variable> parts;
  for (std::size_t i = 0; i < channels.size(); ++i) {
    buffer.parts[i].copy_from(integers({2, 3, 2, channels[i]}, 9, i));
    parts.emplace_back(buffer.parts[i]);
  }
  const Tensor y = concat(parts).value();
  CHECK(y.raw() == buffer.wide.raw());
  CHECK(y.shape() == Shape{2, 3, 2, 8});
  CHECK(y.contiguous());
  // Part of the channels: still a view, now a slice.
  const Tensor two = concat({parts[1], parts[2]}).value();
  CHECK(two.raw() == buffer.parts[1].raw());
  CHECK(two.pixel_stride() == 8);
  // Another order, or other memory, is copied.
  for (const bool foreign : {false, true}) {
    const Variable second = foreign ? Variable(parts[2].value().clone()) : parts[2];
    const std::vector<Variable> mixed =
        foreign ? std::vector<Variable>{parts[1], second} : std::vector<Variable>{second, parts[1]};
    const Tensor copied = concat(mixed).value();
    CHECK(copied.storage() != buffer.wide.storage());
    CHECK(copied.contiguous());
    CHECK(same_values(copied.channel_slice(0, mixed[0].shape()[3]), mixed[0].value()));
    CHECK(same_values(copied.channel_slice(mixed[0].shape()[3], mixed[1].shape()[3]),
                      mixed[1].value()));
  }
}

TEST_CASE("concat on every device: views, copies, gradients") {
  for (const Device device : test::one_device_a_kind()) {
    const std::vector<std::int64_t> channels{3, 5};
    const ConcatBuffer buffer = concat_buffer(2, 3, 2, channels, DType::f32, device);
    const Tensor a = integers({2, 3, 2, 3}, 9, 1), b = integers({2, 3, 2, 5}, 9, 2);
    buffer.parts[0].copy_from(a);
    buffer.parts[1].copy_from(b);
    const Variable left(buffer.parts[0], true), right(buffer.parts[1], true);
    CHECK(concat({left, right}).value().raw() == buffer.wide.raw());
    for (const DType dtype : {DType::f32, DType::f16}) {
      if (device.kind == DeviceKind::cpu && dtype != DType::f32) continue;
      const Variable first(b.to(dtype).to(device), true), second(a.to(dtype).to(device), true);
      const Variable y = concat({first, second});
      CHECK(y.value().device() == device);
      CHECK(same_values(y.value().channel_slice(0, 5), b));
      CHECK(same_values(y.value().channel_slice(5, 3), a));
      const Tensor seed = integers({2, 3, 2, 8}, 9, 3);
      backward(y, seed.to(dtype).to(device));
      CHECK(same_values(first.grad(), seed.channel_slice(0, 5)));
      CHECK(same_values(second.grad(), seed.channel_slice(5, 3)));
    }
  }
}

TEST_CASE("concat: gradients are slices, of a part used twice their sum; errors") {
  const Variable a(integers({1, 2, 2, 2}, 9, 1), true), b(integers({1, 2, 2, 3}, 9, 2), true);
  const Tensor seed = integers({1, 2, 2, 7}, 9, 3);
  backward(concat({a, b, a}), seed);
  CHECK(same_values(a.grad(), add(seed.channel_slice(0, 2), seed.channel_slice(5, 2))));
  CHECK(same_values(b.grad(), seed.channel_slice(2, 3)));
  CHECK_THROWS_WITH_AS(concat({}), doctest::Contains("[concat] no parts"), Error);
  CHECK_THROWS_WITH_AS(concat({a, Variable(normals({1, 2, 3, 2}, 1))}),
                       doctest::Contains("[concat] parts 1x2x2x2 f32 and 1x2x3x2 f32"), Error);
}
