// Every provider of conv2d against the reference, on the shapes of cases.h.
#include <doctest/doctest.h>

#include <cstring>

#include "engine/runtime/parallel.h"
#include "kernels/conv2d/cases.h"
#include "kernels/conv2d/conv2d.h"
#include "tests/support/check.h"

using namespace thorax;
using conv2d_cases::Case;

namespace {

struct Inputs {
  Tensor x, w, bias, residual, y, dy;
};
struct Outputs {
  Tensor y, dx, dw, dbias;
};

// The values of `t`, laid out as a channel slice when `slices`.
Tensor laid_out(const Tensor& t, bool slices) {
  return slices ? test::as_slice(t) : t;
}

Tensor output(const Shape& shape, bool slices) {
  return laid_out(test::poisoned(shape), slices && shape.numel() > 0);
}

Outputs run(const Conv2dProvider& provider, const Conv2dProblem& p, const Inputs& in, bool slices) {
  Outputs out;
  const Tensor x = laid_out(in.x, slices), dy = laid_out(in.dy, slices);
  const Tensor y = p.relu ? laid_out(in.y, slices) : Tensor{};
  const Tensor residual = p.residual ? laid_out(in.residual, slices) : Tensor{};
  out.y = output(p.output_shape(), slices);
  provider.forward(p, x, in.w, in.bias, residual, out.y);
  if (p.residual) return out;
  out.dx = output(p.input_shape(), slices);
  provider.backward_data(p, dy, in.w, y, out.dx);
  out.dw = test::poisoned(p.filter_shape());
  if (p.bias) out.dbias = test::poisoned({p.out_channels});
  provider.backward_filter(p, x, dy, y, out.dw, out.dbias);
  return out;
}

Inputs make_inputs(const Conv2dProblem& p, bool integers, std::uint64_t seed) {
  const auto fill = [&](const Shape& shape, std::uint64_t stream, int range) {
    return integers ? test::integers(shape, range, seed + stream)
                    : test::normals(shape, seed + stream);
  };
  Inputs in{fill(p.input_shape(), 0, 4), fill(p.filter_shape(), 1, 4), {}, {}, {}, {}};
  if (p.bias) in.bias = fill({p.out_channels}, 2, 4);
  if (p.residual) in.residual = fill(p.output_shape(), 3, 4);
  in.dy = fill(p.output_shape(), 4, 2);
  // Any values can stand for the forward result; zeros and negative numbers must close the gate.
  in.y = fill(p.output_shape(), 5, 1);
  return in;
}

Tensor absolute(const Tensor& t) {
  if (!t.defined()) return t;
  const Tensor result = t.clone();
  for (std::int64_t i = 0; i < result.numel(); ++i)
    result.data<float>()[i] = std::abs(result.data<float>()[i]);
  return result;
}

// Largest |a - b| / (factor * magnitude); infinite for NaN. The magnitude is that of each element,
// or the largest of the tensor when `normwise`.
double worst_share(const Tensor& a, const Tensor& b, const Tensor& magnitude, double factor,
                   bool normwise = false) {
  if (!a.defined()) return 0;
  const Tensor u = a.to_contiguous(), v = b.to_contiguous(), m = magnitude.to_contiguous();
  const float* const sizes = m.data<float>();
  const double largest = m.numel() == 0 ? 0 : double(*std::max_element(sizes, sizes + m.numel()));
  double worst = 0;
  for (std::int64_t i = 0; i < u.numel(); ++i) {
    const double error = std::abs(double(u.data<float>()[i]) - double(v.data<float>()[i]));
    if (error == 0) continue;
    const double share = error / (factor * (normwise ? largest : double(sizes[i])));
    if (!(share <= worst)) worst = std::isnan(share) ? INFINITY : share;
  }
  return worst;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  if (!a.defined()) return !b.defined();
  const Tensor u = a.to_contiguous(), v = b.to_contiguous();
  return u.bytes() == v.bytes() && std::memcmp(u.raw(), v.raw(), u.bytes()) == 0;
}

// True when the channels beside a slice still hold the poison.
bool neighbours_untouched(const Tensor& slice) {
  if (slice.numel() == 0 || slice.contiguous()) return true;
  const float* first = slice.data<float>();
  for (std::int64_t p = 0; p < slice.pixels(); ++p) {
    const float* pixel = first + p * slice.pixel_stride();
    for (std::int64_t c = -3; c < slice.channels() + 2; ++c)
      if ((c < 0 || c >= slice.channels()) && !std::isnan(pixel[c])) return false;
  }
  return true;
}

// Error bounds, as multiples of the same sum of absolute values. A sum of n products is off by at
// most (n + 2) u, u = 2^-24; roundings behave like a random walk, so a multiple of sqrt(n) is asked
// for. Winograd mixes the inputs of a whole tile, so its error is measured against the largest such
// sum of the tensor; its transforms amplify roundings (kernels/conv2d/README.md derives the
// factor).
double bound(bool winograd, std::int64_t terms) {
  constexpr double u = 1.0 / (1 << 24);
  return u * (4 * std::sqrt(double(terms)) + 4) * (winograd ? 4 : 1);
}

bool same_or_absent(const Tensor& a, const Tensor& b) {
  return a.defined() ? test::same_values(a, b) : !b.defined();
}

void check_case(const Case& c, double& worst_random) {
  const Conv2dProvider& reference = conv2d_providers().named("reference");
  const Conv2dProblem& p = c.problem;
  Conv2dProblem plain = p;
  plain.relu = false;
  const Inputs whole = make_inputs(p, true, 11), random = make_inputs(p, false, 22);
  const Outputs want_whole = run(reference, p, whole, false);
  const Outputs want = run(reference, p, random, false);
  const Outputs size = run(reference, plain,
                           {absolute(random.x), absolute(random.w), absolute(random.bias),
                            absolute(random.residual), random.y, absolute(random.dy)},
                           false);
  const std::int64_t taps = p.kernel_h * p.kernel_w;
  const std::int64_t pixels = p.batch * p.out_height() * p.out_width();
  for (const Conv2dProvider& provider : conv2d_providers().all()) {
    const std::string name = provider.name;
    const bool winograd = name == "winograd";
    if (name == "reference" || provider.device != DeviceKind::cpu) continue;
    if (provider.priority(p) < 0) continue;
    CAPTURE(name);
    CAPTURE(c.name);
    CAPTURE(p.to_string());
    for (const bool slices : {false, true}) {
      CAPTURE(slices);
      if (!winograd) {
        const Outputs got = run(provider, p, whole, slices);
        CHECK(same_or_absent(got.y, want_whole.y));
        CHECK(same_or_absent(got.dx, want_whole.dx));
        CHECK(same_or_absent(got.dw, want_whole.dw));
        CHECK(same_or_absent(got.dbias, want_whole.dbias));
      }
      const Outputs got = run(provider, p, random, slices);
      const double shares[] = {
          worst_share(got.y, want.y, size.y, bound(winograd, taps * p.in_channels / p.groups),
                      winograd),
          worst_share(got.dx, want.dx, size.dx, bound(winograd, taps * p.out_channels / p.groups),
                      winograd),
          worst_share(got.dw, want.dw, size.dw, bound(winograd, pixels), winograd),
          worst_share(got.dbias, want.dbias, size.dbias, bound(false, pixels))};
      for (const double share : shares) {
        CHECK(share <= 1);
        worst_random = std::max(worst_random, share);
      }
      CHECK(neighbours_untouched(got.y));
      if (got.dx.defined()) CHECK(neighbours_untouched(got.dx));
    }
  }
}

void check_cases(const std::vector<Case>& cases, const char* what) {
  double worst = 0;
  for (const Case& c : cases) check_case(c, worst);
  MESSAGE(std::string(what), ": worst error ", worst, " of the bound");
}

}  // namespace

TEST_CASE("conv2d providers against the reference: awkward shapes") {
  check_cases(conv2d_cases::awkward(), "awkward shapes");
}

TEST_CASE("conv2d providers against the reference: layers of UNet") {
  check_cases(conv2d_cases::unet(32), "UNet");
}

TEST_CASE("conv2d providers against the reference: layers of HRNet-W18") {
  check_cases(conv2d_cases::hrnet(18, 32, 2), "HRNet-W18");
  check_cases(conv2d_cases::hrnet(18, 32, 1, 1), "HRNet-W18, gray images");
}

TEST_CASE("conv2d providers against the reference: layers of HRNet-W32 and W48") {
  check_cases(conv2d_cases::wider_hrnets(32), "HRNet-W32 and W48");
}

TEST_CASE("conv2d residual in the epilogue") {
  double worst = 0;
  for (Case c : conv2d_cases::awkward()) {
    c.problem.residual = true;
    check_case(c, worst);
  }
}

TEST_CASE("conv2d: one and two threads give the same bits, and so do two runs") {
  const int before = num_threads();
  std::vector<Case> cases = conv2d_cases::awkward();
  for (const auto& more :
       {conv2d_cases::unet(64), conv2d_cases::hrnet(18, 64, 3), conv2d_cases::hrnet(48, 32, 1)})
    cases.insert(cases.end(), more.begin(), more.end());
  for (const Case& c : cases) {
    for (const char* name : {"winograd", "gemm"}) {
      const Conv2dProvider& provider = conv2d_providers().named(name);
      if (provider.priority(c.problem) < 0) continue;
      CAPTURE(name);
      CAPTURE(c.problem.to_string());
      const Inputs in = make_inputs(c.problem, false, 33);
      set_num_threads(1);
      const Outputs one = run(provider, c.problem, in, false);
      set_num_threads(2);
      for (int repeat = 0; repeat < 2; ++repeat) {
        const Outputs two = run(provider, c.problem, in, false);
        CHECK(same_bits(one.y, two.y));
        CHECK(same_bits(one.dx, two.dx));
        CHECK(same_bits(one.dw, two.dw));
        CHECK(same_bits(one.dbias, two.dbias));
      }
    }
  }
  set_num_threads(before);
}
