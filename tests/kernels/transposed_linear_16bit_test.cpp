// conv_transpose2d and linear in 16 bits on a GPU, or on every simulated architecture, against the
// reference on the same values rounded to the tensors' type: what conv2d_mma_test.cpp is for
// conv2d.
#include <doctest/doctest.h>

#include "engine/runtime/device.h"
#include "kernels/common/precision.h"
#include "kernels/conv_transpose2d/cases.h"
#include "kernels/linear/cases.h"
#include "tests/support/device.h"
#include "tests/support/gpu.h"
#include "tests/support/precision.h"

using namespace thorax;
using test::absolute;
using test::fetched;
using test::output_rounding;
using test::same_or_absent;
using test::sum_error;
using test::Variant;
using test::worst_share;

namespace {

constexpr Variant kMma{"cuda/mma", DType::f16};
constexpr Variant kAsyncF16{"cuda/mma_async", DType::f16};
constexpr Variant kAsyncBf16{"cuda/mma_async", DType::bf16};
constexpr Variant kNaiveF16{"cuda/naive", DType::f16};
constexpr Variant kNaiveBf16{"cuda/naive", DType::bf16};

struct Inputs {
  Tensor x, w, bias, y, dy;  // float32 on the CPU, representable in the tensors' type
};
struct Outputs {
  Tensor y, dx, dw, dbias;  // float32 on the CPU
};

// The two operations under one name each.
struct Transposed {
  using Problem = ConvTranspose2dProblem;
  static constexpr const char* kName = "conv_transpose2d";
  static auto& providers() { return conv_transpose2d_providers(); }
  static Shape filter(const Problem& p) { return p.filter_shape(); }
  static std::int64_t outputs(const Problem& p) { return p.out_channels; }
  // Terms of the sums of y, dx, dw and dbias.
  static std::array<std::int64_t, 4> terms(const Problem& p) {
    const std::int64_t taps = p.kernel_h * p.kernel_w, out = p.out_height() * p.out_width();
    return {taps * p.in_channels / p.groups, taps * p.out_channels / p.groups,
            p.batch * p.height * p.width, p.batch * out};
  }
  static bool relu(const Problem&) { return false; }
  static Problem plain(const Problem& p) { return p; }
  template <class Provider>
  static void forward(const Provider& v, const Problem& p, const Tensor& x, const Tensor& w,
                      const Tensor& b, const Tensor& y) {
    v.forward(p, x, w, b, y);
  }
  template <class Provider>
  static void backward(const Provider& v, const Problem& p, const Tensor& x, const Tensor& w,
                       const Tensor&, const Tensor& dy, const Outputs& o) {
    v.backward_data(p, dy, w, o.dx);
    v.backward_filter(p, x, dy, o.dw, o.dbias);
  }
};
struct Dense {
  using Problem = LinearProblem;
  static constexpr const char* kName = "linear";
  static auto& providers() { return linear_providers(); }
  static Shape filter(const Problem& p) { return p.weight_shape(); }
  static std::int64_t outputs(const Problem& p) { return p.out_features; }
  static std::array<std::int64_t, 4> terms(const Problem& p) {
    return {p.in_features, p.out_features, p.rows, p.rows};
  }
  static bool relu(const Problem& p) { return p.relu; }
  static Problem plain(Problem p) {
    p.relu = false;
    return p;
  }
  template <class Provider>
  static void forward(const Provider& v, const Problem& p, const Tensor& x, const Tensor& w,
                      const Tensor& b, const Tensor& y) {
    v.forward(p, x, w, b, y);
  }
  template <class Provider>
  static void backward(const Provider& v, const Problem& p, const Tensor& x, const Tensor& w,
                       const Tensor& y, const Tensor& dy, const Outputs& o) {
    v.backward_data(p, dy, w, y, o.dx);
    v.backward_weight(p, x, dy, y, o.dw, o.dbias);
  }
};

template <class Op>
Inputs make_inputs(const typename Op::Problem& p, bool integers, std::uint64_t seed) {
  const auto fill = [&](const Shape& shape, std::uint64_t stream, int range) {
    return integers ? test::integers(shape, range, seed + stream)
                    : test::representable(test::normals(shape, seed + stream), p.dtype);
  };
  return {fill(p.input_shape(), 0, 4), fill(Op::filter(p), 1, 4),
          p.bias ? fill({Op::outputs(p)}, 2, 4) : Tensor{},
          fill(p.output_shape(), 5, 1),  // any values can stand for the forward result
          fill(p.output_shape(), 4, 2)};
}

template <class Op, class Provider>
Outputs run(const Provider& provider, const typename Op::Problem& p, const Inputs& in,
            Device device, bool slices) {
  const auto here = [&](const Tensor& t) { return test::unaligned(t, p.dtype, device, slices); };
  const DType parameters = parameter_dtype(p.dtype);
  const auto parameter = [&](const Shape& shape) {
    return test::poisoned(shape, parameters, device);
  };
  const Tensor x = here(in.x), dy = here(in.dy), y = Op::relu(p) ? here(in.y) : Tensor{};
  const Tensor w = in.w.to(p.dtype).to(device);
  const Tensor bias = p.bias ? in.bias.to(parameters).to(device) : Tensor{};
  const Outputs out{here(test::poisoned(p.output_shape())), here(test::poisoned(p.input_shape())),
                    parameter(Op::filter(p)), p.bias ? parameter({Op::outputs(p)}) : Tensor{}};
  Op::forward(provider, p, x, w, bias, out.y);
  Op::backward(provider, p, x, w, y, dy, out);
  return {fetched(out.y), fetched(out.dx), fetched(out.dw), p.bias ? fetched(out.dbias) : Tensor{}};
}

template <class Op>
void check_cases(const Variant& v, int index,
                 const std::vector<std::pair<std::string, typename Op::Problem>>& cases) {
  if (test::gpu_is_older(index)) return;
  const Device device = test::gpu(index);
  const DeviceScope scope(device);
  const auto& provider = Op::providers().named(v.provider, device.kind);
  const auto& reference = Op::providers().named("reference");
  const DType parameters = parameter_dtype(v.dtype);
  double worst = 0;
  for (const auto& [name, exact] : cases) {
    typename Op::Problem p = exact;
    p.dtype = v.dtype;
    CAPTURE(v.provider);
    CAPTURE(index);
    CAPTURE(name);
    CAPTURE(p.to_string());
    REQUIRE(provider.priority(p) >= 0);
    // Sums below 2^24 are exact in float32: only the rounding of the result is left.
    const Inputs whole = make_inputs<Op>(p, true, 11);
    const Outputs wanted = run<Op>(reference, exact, whole, {}, false);
    const Outputs same = run<Op>(provider, p, whole, device, false);
    CHECK(same_or_absent(same.y, wanted.y, v.dtype));
    CHECK(same_or_absent(same.dx, wanted.dx, v.dtype));
    CHECK(same_or_absent(same.dw, wanted.dw, parameters));
    CHECK(same_or_absent(same.dbias, wanted.dbias, parameters));

    const Inputs random = make_inputs<Op>(p, false, 22);
    const Outputs want = run<Op>(reference, exact, random, {}, false);
    const Outputs size = run<Op>(reference, Op::plain(exact),
                                 {absolute(random.x), absolute(random.w), absolute(random.bias),
                                  random.y, absolute(random.dy)},
                                 {}, false);
    const Outputs got = run<Op>(provider, p, random, device, true);
    const auto terms = Op::terms(p);
    const double out = output_rounding(v.dtype);
    const double shares[] = {
        worst_share(got.y, want.y, size.y, sum_error(v, terms[0]), out),
        worst_share(got.dx, want.dx, size.dx, sum_error(v, terms[1]), out),
        worst_share(got.dw, want.dw, size.dw, sum_error(v, terms[2]), 0),
        worst_share(got.dbias, want.dbias, size.dbias, sum_error(v, terms[3]), 0)};
    for (const double share : shares) {
      CHECK(share <= 1);
      worst = std::max(worst, share);
    }
  }
  MESSAGE(std::string(Op::kName), " ", std::string(v.provider), " ", std::string(name_of(v.dtype)),
          " on ", to_string(device), ": worst error ", worst, " of the bound");
}

std::vector<std::pair<std::string, ConvTranspose2dProblem>> transposed(bool all) {
  std::vector<std::pair<std::string, ConvTranspose2dProblem>> cases;
  for (const auto& c : conv_transpose2d_cases::awkward()) cases.emplace_back(c.name, c.problem);
  if (!all) return cases;
  // Layers of the models on maps that the simulator does in a moment.
  for (const auto& c : conv_transpose2d_cases::unet(16))
    if (c.problem.in_channels <= 256) cases.emplace_back(c.name, c.problem);
  return cases;
}
std::vector<std::pair<std::string, LinearProblem>> dense() {
  std::vector<std::pair<std::string, LinearProblem>> cases;
  for (const auto& c : linear_cases::all())
    if (c.problem.flops() < 1.1e6) cases.emplace_back(c.name, c.problem);
  return cases;
}

}  // namespace

TEST_CASE("conv_transpose2d cuda/mma: float16 on sm_75 and newer") {
  check_cases<Transposed>(kMma, 0, transposed(true));
  check_cases<Transposed>(kMma, 2, transposed(false));
}

TEST_CASE("conv_transpose2d cuda/mma_async: float16 and bfloat16 on sm_80 and sm_90") {
  check_cases<Transposed>(kAsyncF16, 1, transposed(true));
  check_cases<Transposed>(kAsyncBf16, 2, transposed(false));
}

TEST_CASE("conv_transpose2d cuda/naive: float16 and bfloat16") {
  check_cases<Transposed>(kNaiveF16, 0, transposed(false));
  check_cases<Transposed>(kNaiveBf16, 1, transposed(false));
}

TEST_CASE("linear cuda/mma: float16 on sm_75 and newer") {
  check_cases<Dense>(kMma, 0, dense());
  check_cases<Dense>(kMma, 2, dense());
}

TEST_CASE("linear cuda/mma_async: float16 and bfloat16 on sm_80 and sm_90") {
  check_cases<Dense>(kAsyncF16, 1, dense());
  check_cases<Dense>(kAsyncBf16, 2, dense());
}

TEST_CASE("linear cuda/naive: float16 and bfloat16, and float64") {
  check_cases<Dense>(kNaiveF16, 0, dense());
  check_cases<Dense>(kNaiveBf16, 1, dense());
  check_cases<Dense>({"cuda/naive", DType::f64}, 0, dense());
}

TEST_CASE("conv_transpose2d and linear in 16 bits: who is chosen where") {
  ConvTranspose2dProblem up = conv_transpose2d_cases::unet(16)[3].problem;
  LinearProblem head = linear_cases::all()[3].problem;
  const auto chosen = [&](int index, DType dtype) {
    const DeviceScope scope({DeviceKind::sim, index});
    up.dtype = head.dtype = dtype;
    const std::string name = conv_transpose2d_providers().select(up, DeviceKind::sim).name;
    CHECK(name == linear_providers().select(head, DeviceKind::sim).name);
    return name;
  };
  CHECK(chosen(0, DType::f16) == "cuda/mma");
  CHECK(chosen(1, DType::f16) == "cuda/mma_async");
  CHECK(chosen(2, DType::bf16) == "cuda/mma_async");
  // bfloat16 has no matrix instruction on sm_75: an error names the layer, nothing crawls.
  const DeviceScope turing({DeviceKind::sim, 0});
  CHECK_THROWS_WITH_AS(
      conv_transpose2d_providers().select(up, DeviceKind::sim),
      doctest::Contains("[conv_transpose2d] no provider on sim supports 1x8x8x64 * 64x2x2x32"),
      Error);
  CHECK_THROWS_WITH_AS(linear_providers().select(head, DeviceKind::sim),
                       doctest::Contains("[linear] no provider on sim supports"), Error);
}

TEST_CASE("conv_transpose2d and linear on tensor cores: the order of threads does not matter") {
  const Device device = test::gpu();
  const DeviceScope scope(device);
  ConvTranspose2dProblem up = conv_transpose2d_cases::awkward().back().problem;
  LinearProblem head = linear_cases::all()[10].problem;
  up.dtype = head.dtype = DType::f16;
  const Inputs maps = make_inputs<Transposed>(up, false, 33),
               rows = make_inputs<Dense>(head, false, 34);
  std::vector<Outputs> results;
  test::in_every_thread_order([&] {
    results.push_back(run<Transposed>(conv_transpose2d_providers().named("cuda/mma", device.kind),
                                      up, maps, device, true));
    results.push_back(
        run<Dense>(linear_providers().named("cuda/mma", device.kind), head, rows, device, true));
  });
  REQUIRE(results.size() > 2);
  for (std::size_t i = 2; i < results.size(); ++i) {
    CHECK(test::same_values(results[i].y, results[i % 2].y));
    CHECK(test::same_values(results[i].dx, results[i % 2].dx));
    CHECK(test::same_values(results[i].dw, results[i % 2].dw));
    CHECK(test::same_values(results[i].dbias, results[i % 2].dbias));
  }
}
