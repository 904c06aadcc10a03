// conv_transpose2d: gradient check of the reference, every provider against it, threads, errors.
#include <doctest/doctest.h>

#include <cstring>

#include "engine/autograd/gradcheck.h"
#include "engine/runtime/device.h"
#include "engine/runtime/parallel.h"
#include "engine/runtime/sim/block.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv_transpose2d/cases.h"
#include "kernels/conv_transpose2d/conv_transpose2d.h"
#include "tests/support/check.h"

using namespace thorax;
using conv_transpose2d_cases::Case;

namespace {

struct Inputs {
  Tensor x, w, bias, dy;
};
struct Outputs {
  Tensor y, dx, dw, dbias;
};

Inputs make_inputs(const ConvTranspose2dProblem& p, bool integers) {
  const auto fill = [&](const Shape& shape, std::uint64_t seed) {
    return integers ? test::integers(shape, 4, seed) : test::normals(shape, seed);
  };
  return {fill(p.input_shape(), 1), fill(p.filter_shape(), 2),
          p.bias ? fill({p.out_channels}, 3) : Tensor{}, fill(p.output_shape(), 4)};
}

// Runs on the provider's device; the outputs come back.
Outputs run(const ConvTranspose2dProvider& provider, const ConvTranspose2dProblem& p,
            const Inputs& in, bool slices) {
  const Device device{provider.device, 0};
  const auto map = [&](const Tensor& t) {
    const Tensor there = t.to(device);
    return slices ? test::as_slice(there) : there;
  };
  const auto output = [&](const Shape& shape) { return test::poisoned(shape, DType::f32, device); };
  const auto back = [&](const Tensor& t) {
    CHECK(test::neighbours_untouched(t));
    return t.to(Device{});
  };
  const Tensor x = map(in.x), dy = map(in.dy), w = in.w.to(device);
  const Tensor y = map(output(p.output_shape())), dx = map(output(p.input_shape()));
  const Tensor dw = output(p.filter_shape());
  const Tensor dbias = p.bias ? output({p.out_channels}) : Tensor{};
  provider.forward(p, x, w, p.bias ? in.bias.to(device) : Tensor{}, y);
  provider.backward_data(p, dy, w, dx);
  provider.backward_filter(p, x, dy, dw, dbias);
  return {back(y), back(dx), back(dw), p.bias ? back(dbias) : Tensor{}};
}

bool same(const Tensor& a, const Tensor& b) {
  return a.defined() ? test::same_values(a, b) : !b.defined();
}

std::vector<Case> all_cases() {
  std::vector<Case> cases = conv_transpose2d_cases::awkward();
  const std::vector<Case> more = conv_transpose2d_cases::unet(64);
  cases.insert(cases.end(), more.begin(), more.end());
  return cases;
}

}  // namespace

TEST_CASE("conv_transpose2d reference: float64 gradient check") {
  struct Case64 {
    Shape x, w;
    ConvTranspose2dOptions options;
  };
  const std::vector<Case64> cases{
      {{2, 3, 4, 3}, {3, 2, 2, 5}, {.stride = 2}},
      {{1, 4, 3, 4}, {4, 3, 3, 3}, {.stride = 2, .padding = 1, .output_padding = 1}},
      {{1, 4, 4, 4}, {4, 3, 3, 2}, {.padding = 1, .dilation = 2, .groups = 2}},
  };
  for (const Case64& c : cases) {
    const GradcheckResult result = gradcheck(
        [&](const std::vector<Variable>& in) {
          return conv_transpose2d(in[0], in[1], in[2], c.options);
        },
        {test::normals(c.x, 1, DType::f64), test::normals(c.w, 2, DType::f64),
         test::normals({c.w[3] * c.options.groups}, 3, DType::f64)});
    CAPTURE(result.message);
    CHECK(result.ok);
  }
}

TEST_CASE("conv_transpose2d is the adjoint of conv2d") {
  // <conv(u), v> = <u, conv_transpose(v)> for whole numbers, exactly.
  const Tensor u = test::integers({2, 9, 8, 5}, 4, 1), w = test::integers({7, 3, 3, 5}, 4, 2);
  const Tensor y = conv2d(Variable(u), Variable(w), {}, {.stride = 2, .padding = 1}).value();
  const Tensor v = test::integers(y.shape(), 4, 3);
  const Tensor x =
      conv_transpose2d(Variable(v), Variable(w), {}, {.stride = 2, .padding = 1}).value();
  // 9 rows give 5, which come back as 9; 8 columns give 4, which come back as 7.
  REQUIRE(x.shape() == Shape{2, 9, 7, 5});
  double left = 0, right = 0;
  for (std::int64_t i = 0; i < y.numel(); ++i)
    left += double(y.data<float>()[i]) * double(v.data<float>()[i]);
  const Tensor wide = conv_transpose2d(Variable(v), Variable(w), {},
                                       {.stride = 2, .padding = 1, .output_padding = 1})
                          .value();
  REQUIRE(wide.shape() == Shape{2, 10, 8, 5});
  for (std::int64_t n = 0; n < 2; ++n)
    for (std::int64_t i = 0; i < 9 * 8 * 5; ++i)
      right += double(u.data<float>()[n * 9 * 8 * 5 + i]) *
               double(wide.data<float>()[n * 10 * 8 * 5 + i]);
  CHECK(left == right);
}

TEST_CASE("conv_transpose2d providers against the reference") {
  double worst = 0;
  const ConvTranspose2dProvider& reference = conv_transpose2d_providers().named("reference");
  std::vector<Case> cases = all_cases();
  // A simulated GPU does about 1 GFLOP/s: the same layers on smaller maps.
  const std::size_t large = conv_transpose2d_cases::awkward().size();
  const std::vector<Case> small = conv_transpose2d_cases::unet(16);
  cases.insert(cases.end(), small.begin(), small.end());
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const Case& c = cases[i];
    const bool too_large = i >= large && i < large + small.size();
    const ConvTranspose2dProblem& p = c.problem;
    const Inputs whole = make_inputs(p, true), random = make_inputs(p, false);
    const Outputs want_whole = run(reference, p, whole, false);
    const Outputs want = run(reference, p, random, false);
    for (const ConvTranspose2dProvider& provider : conv_transpose2d_providers().all()) {
      const std::string name = provider.name;
      if (name == "reference" || device_count(provider.device) == 0 || provider.priority(p) < 0)
        continue;
      if (provider.device != DeviceKind::cpu && too_large) continue;
      CAPTURE(name);
      CAPTURE(c.name);
      CAPTURE(p.to_string());
      for (const bool slices : {false, true}) {
        CAPTURE(slices);
        const Outputs exact = run(provider, p, whole, slices);
        CHECK(same(exact.y, want_whole.y));
        CHECK(same(exact.dx, want_whole.dx));
        CHECK(same(exact.dw, want_whole.dw));
        CHECK(same(exact.dbias, want_whole.dbias));
        // Normal values: n products of size 1 are off by a few sqrt(n) roundings of sqrt(n) or
        // less.
        const Outputs got = run(provider, p, random, slices);
        const auto share = [&](const Tensor& a, const Tensor& b, std::int64_t terms) {
          return test::difference(a, b, 8.0 * double(terms + 1) / (1 << 24)).worst;
        };
        const std::int64_t taps = p.kernel_h * p.kernel_w;
        const double worst_here = std::max({share(got.y, want.y, taps * p.in_channels),
                                            share(got.dx, want.dx, taps * p.out_channels),
                                            share(got.dw, want.dw, p.batch * p.height * p.width)});
        CHECK(worst_here <= 1);
        worst = std::max(worst, worst_here);
      }
    }
  }
  MESSAGE("worst error ", worst, " of the bound");
}

TEST_CASE("conv_transpose2d on the simulated GPU: the order of threads does not matter") {
  for (const Case& c : conv_transpose2d_cases::awkward()) {
    if (c.name != "overlapping 3x3 stride 2" && c.name != "many pixels") continue;
    const Inputs in = make_inputs(c.problem, false);
    for (const ConvTranspose2dProvider& provider : conv_transpose2d_providers().all()) {
      if (provider.device != DeviceKind::sim || provider.priority(c.problem) < 0) continue;
      CAPTURE(provider.name);
      CAPTURE(c.name);
      const Outputs forward = run(provider, c.problem, in, false);
      for (const sim::Order order : {sim::Order::reverse, sim::Order::random}) {
        sim::set_order(order, 7);
        const Outputs other = run(provider, c.problem, in, false);
        sim::set_order(sim::Order::forward);
        CHECK(same(forward.y, other.y));
        CHECK(same(forward.dx, other.dx));
        CHECK(same(forward.dw, other.dw));
        CHECK(same(forward.dbias, other.dbias));
      }
    }
  }
}

TEST_CASE("conv_transpose2d: one and two threads give the same bits") {
  const int before = num_threads();
  const ConvTranspose2dProvider& provider = conv_transpose2d_providers().named("gemm");
  for (const Case& c : all_cases()) {
    CAPTURE(c.problem.to_string());
    const Inputs in = make_inputs(c.problem, false);
    set_num_threads(1);
    const Outputs one = run(provider, c.problem, in, false);
    set_num_threads(2);
    const Outputs two = run(provider, c.problem, in, false);
    CHECK(same(one.y, two.y));
    CHECK(same(one.dx, two.dx));
    CHECK(same(one.dw, two.dw));
    CHECK(same(one.dbias, two.dbias));
  }
  set_num_threads(before);
}

TEST_CASE("conv_transpose2d writes into a channel slice and names shapes that do not fit") {
  const Variable x(test::integers({1, 4, 4, 8}, 3, 1)), w(test::integers({8, 2, 2, 6}, 3, 2));
  const Tensor wide = test::poisoned({1, 8, 8, 14});
  const Tensor out = wide.channel_slice(8, 6);
  conv_transpose2d(x, w, {}, {.stride = 2, .out = out});
  CHECK(test::same_values(out, conv_transpose2d(x, w, {}, {.stride = 2}).value()));
  const Variable narrow(test::integers({1, 4, 4, 5}, 3, 1));
  CHECK_THROWS_WITH_AS(
      conv_transpose2d(narrow, w, {}, {.stride = 2}),
      doctest::Contains("[conv_transpose2d] input 1x4x4x5: filter 8x2x2x6 wants 8 channels"),
      Error);
  CHECK_THROWS_WITH_AS(conv_transpose2d(x, w, {}, {.stride = 2, .output_padding = 2}),
                       doctest::Contains("output padding"), Error);
}
