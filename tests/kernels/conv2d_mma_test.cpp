// The tensor-core convolutions and CUDA's Winograd on a GPU, or on every simulated architecture,
// against the reference on the same values rounded to the tensors' type.
#include <doctest/doctest.h>

#include <cstring>

#include "engine/autograd/variable.h"
#include "engine/runtime/device.h"
#include "kernels/common/precision.h"
#include "kernels/conv2d/cases.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv_transpose2d/conv_transpose2d.h"
#include "kernels/linear/linear.h"
#include "tests/support/gpu.h"
#include "tests/support/precision.h"

using namespace thorax;
using conv2d_cases::Case;
using test::absolute;
using test::fetched;
using test::output_rounding;
using test::same_or_absent;
using test::sum_error;
using test::Variant;
using test::worst_share;

namespace {

struct Inputs {
  Tensor x, w, bias, residual, y, dy;  // float32 on the CPU, representable in the tensors' type
};
struct Outputs {
  Tensor y, dx, dw, dbias;  // float32 on the CPU
};

constexpr Variant kMma{"cuda/mma", DType::f16, 0};
constexpr Variant kAsyncF16{"cuda/mma_async", DType::f16, 0};
constexpr Variant kAsyncBf16{"cuda/mma_async", DType::bf16, 0};
constexpr Variant kWinograd{"cuda/winograd", DType::f32, 0, true};
constexpr Variant kTf32{"cuda/mma_tf32", DType::f32, 1.0 / (1 << 10)};  // 2^-11 for each factor

Inputs make_inputs(const Conv2dProblem& p, DType dtype, bool integers, std::uint64_t seed) {
  const auto fill = [&](const Shape& shape, std::uint64_t stream, int range) {
    return integers ? test::integers(shape, range, seed + stream)
                    : test::representable(test::normals(shape, seed + stream), dtype);
  };
  Inputs in{fill(p.input_shape(), 0, 4), fill(p.filter_shape(), 1, 4), {}, {}, {}, {}};
  if (p.bias) in.bias = fill({p.out_channels}, 2, 4);
  if (p.residual) in.residual = fill(p.output_shape(), 3, 4);
  in.dy = fill(p.output_shape(), 4, 2);
  in.y = fill(p.output_shape(), 5, 1);  // any values can stand for the forward result
  return in;
}

Outputs run(const Conv2dProvider& provider, const Conv2dProblem& p, const Inputs& in, Device device,
            bool slices) {
  Outputs out;
  const auto here = [&](const Tensor& t) { return test::unaligned(t, p.dtype, device, slices); };
  const DType parameters = parameter_dtype(p.dtype);
  const Tensor x = here(in.x), dy = here(in.dy), y = p.relu ? here(in.y) : Tensor{};
  const Tensor w = in.w.to(p.dtype).to(device);
  const Tensor bias = in.bias.defined() ? in.bias.to(parameters).to(device) : Tensor{};
  const Tensor result = here(test::poisoned(p.output_shape()));
  provider.forward(p, x, w, bias, here(in.residual), result);
  out.y = fetched(result);
  if (p.residual) return out;
  const Tensor dx = here(test::poisoned(p.input_shape()));
  provider.backward_data(p, dy, w, y, dx);
  out.dx = fetched(dx);
  const Tensor dw = test::poisoned(p.filter_shape(), parameters).to(device);
  const Tensor dbias = p.bias ? test::poisoned({p.out_channels}, parameters).to(device) : Tensor{};
  provider.backward_filter(p, x, dy, y, dw, dbias);
  out.dw = fetched(dw);
  if (p.bias) out.dbias = fetched(dbias);
  return out;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.defined() == b.defined() &&
         (!a.defined() || std::memcmp(a.raw(), b.raw(), a.bytes()) == 0);
}

void check_case(const Variant& v, int index, const Case& c, double& worst) {
  const Device device = test::gpu(index);
  const DeviceScope scope(device);
  const ProviderScope asked("conv2d", v.provider);
  const Conv2dProvider& provider = conv2d_providers().named(v.provider, device.kind);
  const Conv2dProvider& reference = conv2d_providers().named("reference");
  Conv2dProblem p = c.problem;
  p.dtype = v.dtype;
  if (provider.priority(p) < 0) return;
  CAPTURE(v.provider);
  CAPTURE(index);
  CAPTURE(c.name);
  CAPTURE(p.to_string());
  Conv2dProblem exact = c.problem, plain = c.problem;
  plain.relu = false;
  const DType parameters = parameter_dtype(v.dtype);
  // Sums below 2^24 are exact in float32 (those of F(2x2, 3x3) are quarters of whole numbers), so
  // that only the rounding of the result is left.
  {
    const Inputs whole = make_inputs(p, v.dtype, true, 11);
    const Outputs want = run(reference, exact, whole, {}, false);
    const Outputs got = run(provider, p, whole, device, false);
    CHECK(same_or_absent(got.y, want.y, v.dtype));
    CHECK(same_or_absent(got.dx, want.dx, v.dtype));
    CHECK(same_or_absent(got.dw, want.dw, parameters));
    CHECK(same_or_absent(got.dbias, want.dbias, parameters));
  }
  const Inputs random = make_inputs(p, v.dtype, false, 22);
  const Outputs want = run(reference, exact, random, {}, false);
  const Outputs size = run(reference, plain,
                           {absolute(random.x), absolute(random.w), absolute(random.bias),
                            absolute(random.residual), random.y, absolute(random.dy)},
                           {}, false);
  const std::int64_t taps = p.kernel_h * p.kernel_w;
  const std::int64_t pixels = p.batch * p.out_height() * p.out_width();
  const double out = output_rounding(v.dtype);
  const Outputs got = run(provider, p, random, device, true);
  const double shares[] = {
      worst_share(got.y, want.y, size.y, sum_error(v, taps * p.in_channels / p.groups), out,
                  v.winograd),
      worst_share(got.dx, want.dx, size.dx, sum_error(v, taps * p.out_channels / p.groups), out,
                  v.winograd),
      worst_share(got.dw, want.dw, size.dw, sum_error(v, pixels), 0, v.winograd),
      worst_share(got.dbias, want.dbias, size.dbias, sum_error(Variant{}, pixels), 0)};
  for (const double share : shares) {
    CHECK(share <= 1);
    worst = std::max(worst, share);
  }
}

void check_cases(const Variant& v, int index, const std::vector<Case>& cases, const char* what) {
  double worst = 0;
  for (const Case& c : cases) check_case(v, index, c, worst);
  MESSAGE(std::string(v.provider), " ", std::string(name_of(v.dtype)), " on ",
          to_string(test::gpu(index)), ", ", std::string(what), ": worst error ", worst,
          " of the bound");
}

std::vector<Case> with_residual() {
  std::vector<Case> cases;
  for (Case c : conv2d_cases::awkward()) {
    c.problem.residual = true;
    if (c.problem.relu) cases.push_back(c);
  }
  return cases;
}

// Layers of the models that the simulator does in a moment.
std::vector<Case> layers() {
  std::vector<Case> cases;
  for (const Case& c : conv2d_cases::unet(16))
    if (c.problem.flops() < 6e6) cases.push_back(c);
  for (const Case& c : conv2d_cases::hrnet(18, 32, 1))
    if (c.problem.in_channels % 18 == 0 && c.problem.flops() < 1e6) cases.push_back(c);
  return cases;
}

void check_all(const Variant& v, int index) {
  check_cases(v, index, conv2d_cases::awkward(), "awkward shapes");
  check_cases(v, index, with_residual(), "residual");
  check_cases(v, index, layers(), "layers");
}

// Few, for an architecture that runs the same instructions as one that was checked in full.
std::vector<Case> some() {
  std::vector<Case> cases;
  const std::vector<Case> all = conv2d_cases::awkward();
  for (std::size_t i = 0; i < all.size(); i += 5) cases.push_back(all[i]);
  return cases;
}

}  // namespace

TEST_CASE("conv2d cuda/mma: float16 on sm_75") {
  check_all(kMma, 0);
}

TEST_CASE("conv2d cuda/mma: newer architectures run the same kernels") {
  check_cases(kMma, 1, some(), "some shapes");
  check_cases(kMma, 2, some(), "some shapes");
}

TEST_CASE("conv2d cuda/mma_async: float16 on sm_80 and sm_90") {
  check_all(kAsyncF16, 1);
  check_cases(kAsyncF16, 2, some(), "some shapes");
}

TEST_CASE("conv2d cuda/mma_async: bfloat16 on sm_80 and sm_90") {
  check_cases(kAsyncBf16, 1, conv2d_cases::awkward(), "awkward shapes");
  check_cases(kAsyncBf16, 2, some(), "some shapes");
}

TEST_CASE("conv2d cuda/mma_tf32: when asked for, on sm_80 and sm_90") {
  check_all(kTf32, 1);
  check_cases(kTf32, 2, some(), "some shapes");
}

TEST_CASE("conv2d cuda/winograd: float32") {
  check_all(kWinograd, 0);
  check_cases(kWinograd, 2, some(), "some shapes");
}

TEST_CASE("conv2d on tensor cores: who is chosen where") {
  Conv2dProblem p = conv2d_cases::unet(16)[1].problem;
  const auto chosen = [&](int index, DType dtype) {
    const DeviceScope scope({DeviceKind::sim, index});
    p.dtype = dtype;
    return std::string(conv2d_providers().select(p, DeviceKind::sim).name);
  };
  CHECK(chosen(0, DType::f16) == "cuda/mma");
  CHECK(chosen(1, DType::f16) == "cuda/mma_async");
  CHECK(chosen(2, DType::bf16) == "cuda/mma_async");
  const Conv2dProvider& async = conv2d_providers().named("cuda/mma_async", DeviceKind::sim);
  {
    const DeviceScope turing({DeviceKind::sim, 0});
    CHECK(async.priority(p) < 0);
  }
  const Conv2dProvider& tf32 = conv2d_providers().named("cuda/mma_tf32", DeviceKind::sim);
  const DeviceScope scope({DeviceKind::sim, 1});
  p.dtype = DType::f32;
  CHECK(tf32.priority(p) < 0);
  const ProviderScope asked("conv2d", "cuda/mma_tf32");
  CHECK(tf32.priority(p) >= 0);
  CHECK(chosen(2, DType::f32) == "cuda/mma_tf32");
  CHECK_THROWS_AS(chosen(0, DType::f32), Error);
}

TEST_CASE("conv2d on tensor cores: two runs give the same bits") {
  const Device device = test::gpu();
  const Conv2dProvider& provider = conv2d_providers().named("cuda/mma", device.kind);
  Case c = conv2d_cases::awkward().back();
  c.problem.dtype = DType::f16;
  const Inputs in = make_inputs(c.problem, DType::f16, false, 33);
  const Outputs one = run(provider, c.problem, in, device, false);
  const Outputs two = run(provider, c.problem, in, device, false);
  CHECK(same_bits(one.y, two.y));
  CHECK(same_bits(one.dx, two.dx));
  CHECK(same_bits(one.dw, two.dw));
  CHECK(same_bits(one.dbias, two.dbias));
}

TEST_CASE("conv2d in 16 bits: parameters and their gradients stay float32") {
  const Device device = test::gpu();
  const DeviceScope scope(device);
  const auto make = [&](const Shape& shape, std::uint64_t seed, DType dtype) {
    return test::integers(shape, 2, seed, dtype).to(device);
  };
  const Tensor x = make({1, 6, 5, 8}, 1, DType::f16), w = make({4, 3, 3, 8}, 2, DType::f32);
  const Tensor b = make({4}, 3, DType::f32), seed = make({1, 6, 5, 4}, 4, DType::f16);
  const Variable vx(x, true), vw(w, true), vb(b, true);
  const Variable y = conv2d(vx, vw, vb, {.padding = 1});
  CHECK(y.value().dtype() == DType::f16);
  backward(y, seed);
  CHECK(vx.grad().dtype() == DType::f16);
  CHECK(vw.grad().dtype() == DType::f32);
  CHECK(vb.grad().dtype() == DType::f32);
  const auto on_cpu = [](const Tensor& t) { return fetched(t); };
  const Variable rx(on_cpu(x), true), rw(on_cpu(w), true), rb(on_cpu(b), true);
  const Variable ry = conv2d(rx, rw, rb, {.padding = 1});
  backward(ry, on_cpu(seed));
  CHECK(test::same_values(on_cpu(y.value()), ry.value()));
  CHECK(test::same_values(on_cpu(vx.grad()), rx.grad()));
  CHECK(test::same_values(on_cpu(vw.grad()), rw.grad()));
  CHECK(test::same_values(on_cpu(vb.grad()), rb.grad()));
  // A 16-bit filter serves, but cannot be trained.
  const Tensor half = w.to(DType::f16);
  CHECK(test::same_values(
      on_cpu(conv2d(Variable(x), Variable(half), vb.detach(), {.padding = 1}).value()),
      ry.value()));
  CHECK_THROWS_WITH_AS(conv2d(vx, Variable(half, true), vb, {.padding = 1}),
                       doctest::Contains("keep it in float32"), Error);
  CHECK_THROWS_WITH_AS(conv2d(vx, vw, Variable(b.to(DType::f16)), {.padding = 1}),
                       doctest::Contains("[conv2d] bias 4 f16"), Error);
}

TEST_CASE("16-bit contracts: what may be given beside a 16-bit input") {
  const auto zeros = [](const Shape& shape, DType dtype) { return Tensor::zeros(shape, dtype); };
  for (const DType dtype : {DType::f16, DType::bf16}) {
    const Tensor x = zeros({1, 4, 4, 8}, dtype), rows = zeros({2, 8}, dtype);
    const Tensor bias = zeros({6}, DType::f32), narrow_bias = zeros({6}, dtype);
    const DType other = dtype == DType::f16 ? DType::bf16 : DType::f16;
    for (const DType filter : {DType::f32, dtype}) {
      CHECK(conv2d_problem(x, zeros({6, 3, 3, 8}, filter), bias, {}).dtype == dtype);
      CHECK(conv_transpose2d_problem(x, zeros({8, 2, 2, 6}, filter), bias, {}).dtype == dtype);
      CHECK(linear_problem(rows, zeros({6, 8}, filter), bias, false).dtype == dtype);
      CHECK_THROWS_AS(conv2d_problem(x, zeros({6, 3, 3, 8}, filter), narrow_bias, {}), Error);
      CHECK_THROWS_AS(conv_transpose2d_problem(x, zeros({8, 2, 2, 6}, filter), narrow_bias, {}),
                      Error);
      CHECK_THROWS_AS(linear_problem(rows, zeros({6, 8}, filter), narrow_bias, false), Error);
    }
    CHECK_THROWS_AS(conv2d_problem(x, zeros({6, 3, 3, 8}, other), bias, {}), Error);
    CHECK_THROWS_AS(conv_transpose2d_problem(x, zeros({8, 2, 2, 6}, other), bias, {}), Error);
    CHECK_THROWS_AS(linear_problem(rows, zeros({6, 8}, other), bias, false), Error);
    const Tensor full = zeros({1, 4, 4, 8}, DType::f32);
    CHECK_THROWS_AS(conv2d_problem(full, zeros({6, 3, 3, 8}, dtype), bias, {}), Error);
  }
}
