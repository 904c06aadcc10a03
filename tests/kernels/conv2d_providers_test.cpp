// Every provider of conv2d against the reference, on the shapes of cases.h.
#include <doctest/doctest.h>

#include <cstring>
#include <span>

#include "engine/runtime/device.h"
#include "engine/runtime/parallel.h"
#include "engine/runtime/sim/block.h"
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
  bool neighbours_untouched = true;  // channels beside an output that is a slice keep their poison
};

// How the maps lie in memory: contiguous; channels of a wider map, 3 channels from its start;
// 4 channels from its start and with 4 behind, so that vectors of four stay aligned.
enum class Layout { dense, slice, aligned_slice };
constexpr Layout kDenseAndSlice[] = {Layout::dense, Layout::slice};

Tensor laid_out(const Tensor& t, Layout layout) {
  if (layout == Layout::dense) return t;
  return layout == Layout::slice ? test::as_slice(t) : test::as_slice(t, 4, 4);
}

// Runs on the provider's device; the outputs come back.
Outputs run(const Conv2dProvider& provider, const Conv2dProblem& p, const Inputs& in, Layout layout,
            int device_index = 0) {
  const Device device{provider.device, device_index};
  const auto there = [&](const Tensor& t) { return t.defined() ? t.to(device) : t; };
  const auto map = [&](const Tensor& t) { return laid_out(t.to(device), layout); };
  const auto output = [&](const Shape& shape) {
    return laid_out(test::poisoned(shape, DType::f32, device),
                    shape.numel() > 0 ? layout : Layout::dense);
  };
  Outputs out;
  const auto back = [&](const Tensor& t) {
    const std::int64_t before = layout == Layout::aligned_slice ? 4 : 3;
    out.neighbours_untouched &= test::neighbours_untouched(t, before);
    return t.to(Device{});
  };
  const Tensor x = map(in.x), dy = map(in.dy), w = there(in.w);
  const Tensor y = p.relu ? map(in.y) : Tensor{};
  const Tensor residual = p.residual ? map(in.residual) : Tensor{};
  const Tensor result = output(p.output_shape());
  provider.forward(p, x, w, there(in.bias), residual, result);
  out.y = back(result);
  if (p.residual) return out;
  const Tensor dx = output(p.input_shape());
  provider.backward_data(p, dy, w, y, dx);
  out.dx = back(dx);
  const Tensor dw = test::poisoned(p.filter_shape(), DType::f32, device);
  const Tensor dbias = p.bias ? test::poisoned({p.out_channels}, DType::f32, device) : Tensor{};
  provider.backward_filter(p, x, dy, y, dw, dbias);
  out.dw = dw.to(Device{});
  out.dbias = p.bias ? dbias.to(Device{}) : Tensor{};
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

// Which providers a test runs: those of the CPU; those of GPUs, real or simulated; or both.
enum class On { cpu, gpu, both };

void check_case(const Case& c, double& worst_random, On on,
                std::span<const Layout> layouts = kDenseAndSlice) {
  const Conv2dProvider& reference = conv2d_providers().named("reference");
  const Conv2dProblem& p = c.problem;
  Conv2dProblem plain = p;
  plain.relu = false;
  const Inputs whole = make_inputs(p, true, 11), random = make_inputs(p, false, 22);
  const Outputs want_whole = run(reference, p, whole, Layout::dense);
  const Outputs want = run(reference, p, random, Layout::dense);
  const Outputs size = run(reference, plain,
                           {absolute(random.x), absolute(random.w), absolute(random.bias),
                            absolute(random.residual), random.y, absolute(random.dy)},
                           Layout::dense);
  const std::int64_t taps = p.kernel_h * p.kernel_w;
  const std::int64_t pixels = p.batch * p.out_height() * p.out_width();
  for (const Conv2dProvider& provider : conv2d_providers().all()) {
    const std::string name = provider.name;
    const bool winograd = name.find("winograd") != std::string::npos;
    const bool gpu = provider.device != DeviceKind::cpu;
    if (name == "reference" || on == (gpu ? On::cpu : On::gpu)) continue;
    if (device_count(provider.device) == 0 || provider.priority(p) < 0) continue;
    CAPTURE(name);
    CAPTURE(name_of(provider.device));
    CAPTURE(c.name);
    CAPTURE(p.to_string());
    for (const Layout layout : layouts) {
      CAPTURE(static_cast<int>(layout));
      if (!winograd) {
        const Outputs got = run(provider, p, whole, layout);
        CHECK(same_or_absent(got.y, want_whole.y));
        CHECK(same_or_absent(got.dx, want_whole.dx));
        CHECK(same_or_absent(got.dw, want_whole.dw));
        CHECK(same_or_absent(got.dbias, want_whole.dbias));
      }
      const Outputs got = run(provider, p, random, layout);
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
      CHECK(got.neighbours_untouched);
    }
  }
}

void check_cases(const std::vector<Case>& cases, const char* what, On on) {
  double worst = 0;
  for (const Case& c : cases) check_case(c, worst, on);
  MESSAGE(std::string(what), ": worst error ", worst, " of the bound");
}

}  // namespace

TEST_CASE("conv2d providers against the reference: awkward shapes") {
  check_cases(conv2d_cases::awkward(), "awkward shapes", On::both);
}

TEST_CASE("conv2d providers against the reference: layers of UNet") {
  check_cases(conv2d_cases::unet(32), "UNet", On::cpu);
}

TEST_CASE("conv2d providers against the reference: layers of HRNet-W18") {
  check_cases(conv2d_cases::hrnet(18, 32, 2), "HRNet-W18", On::cpu);
  check_cases(conv2d_cases::hrnet(18, 32, 1, 1), "HRNet-W18, gray images", On::cpu);
}

TEST_CASE("conv2d providers against the reference: layers of HRNet-W32 and W48") {
  check_cases(conv2d_cases::wider_hrnets(32), "HRNet-W32 and W48", On::cpu);
}

TEST_CASE("conv2d providers against the reference: layers of ResNet and DenseNet") {
  check_cases(conv2d_cases::resnet(true, 32, 1), "ResNet-152", On::cpu);
  check_cases(conv2d_cases::resnet(false, 32, 2, 1), "ResNet-18, gray images", On::cpu);
  check_cases(conv2d_cases::densenet121(32, 1), "DenseNet-121", On::cpu);
}

// A simulated GPU does about 1 GFLOP/s: every kind of layer, on maps that are small for it.
TEST_CASE("conv2d on a GPU: layers of UNet and HRNet") {
  constexpr Layout dense[] = {Layout::dense};
  double worst = 0;
  for (const auto& cases : {conv2d_cases::unet(16), conv2d_cases::hrnet(18, 32, 1)})
    for (const Case& c : cases) check_case(c, worst, On::gpu, dense);
  MESSAGE("layers: worst error ", worst, " of the bound");
}

TEST_CASE("conv2d on a GPU: aligned slices of wider maps") {
  constexpr Layout aligned[] = {Layout::aligned_slice};
  double worst = 0;
  for (const Case& c : conv2d_cases::awkward())
    if (c.problem.in_channels % 2 == 0) check_case(c, worst, On::gpu, aligned);
}

// Between two barriers threads may run in any order.
TEST_CASE("conv2d on the simulated GPU: the order of threads does not matter") {
  for (const Case& c : conv2d_cases::awkward()) {
    if (c.name != "17 to 23 channels" && c.name != "36 to 72, stride 2" &&
        c.name != "one channel" && c.name != "1x1 stride 2" && c.name != "many channels, few tiles")
      continue;
    const Inputs in = make_inputs(c.problem, false, 44);
    for (const Conv2dProvider& provider : conv2d_providers().all()) {
      if (provider.device != DeviceKind::sim || provider.priority(c.problem) < 0) continue;
      CAPTURE(provider.name);
      CAPTURE(c.problem.to_string());
      const Outputs forward = run(provider, c.problem, in, Layout::dense);
      for (const sim::Order order : {sim::Order::reverse, sim::Order::random}) {
        sim::set_order(order, 7);
        const Outputs other = run(provider, c.problem, in, Layout::dense);
        sim::set_order(sim::Order::forward);
        CHECK(same_bits(forward.y, other.y));
        CHECK(same_bits(forward.dx, other.dx));
        CHECK(same_bits(forward.dw, other.dw));
        CHECK(same_bits(forward.dbias, other.dbias));
      }
    }
  }
}

TEST_CASE("conv2d residual in the epilogue") {
  double worst = 0;
  for (Case c : conv2d_cases::awkward()) {
    c.problem.residual = true;
    check_case(c, worst, On::both);
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
      const Outputs one = run(provider, c.problem, in, Layout::dense);
      set_num_threads(2);
      for (int repeat = 0; repeat < 2; ++repeat) {
        const Outputs two = run(provider, c.problem, in, Layout::dense);
        CHECK(same_bits(one.y, two.y));
        CHECK(same_bits(one.dx, two.dx));
        CHECK(same_bits(one.dw, two.dw));
        CHECK(same_bits(one.dbias, two.dbias));
      }
    }
  }
  set_num_threads(before);
}
