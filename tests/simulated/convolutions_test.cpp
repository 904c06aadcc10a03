// Convolutions, their transposes and the fully connected layer; see every_provider.h.
#include "kernels/conv2d/cases.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv_transpose2d/cases.h"
#include "kernels/conv_transpose2d/conv_transpose2d.h"
#include "kernels/linear/cases.h"
#include "kernels/linear/linear.h"
#include "tests/simulated/every_provider.h"

using namespace thorax;
using test::Setting;
using test::written;

namespace {

// Enough for several tiles and several slabs of each.
constexpr double kFlops = 1e6;

// float32 and float16 of sm_75, then what needs sm_80.
const std::vector<Setting> kSettings{
    {{DeviceKind::sim, 0}, DType::f32, false},  {{DeviceKind::sim, 0}, DType::f32, true},
    {{DeviceKind::sim, 0}, DType::f16, false},  {{DeviceKind::sim, 1}, DType::f16, true},
    {{DeviceKind::sim, 1}, DType::bf16, false}, {{DeviceKind::sim, 1}, DType::f32, true}};

void run_conv2d(const Conv2dProvider& provider, Conv2dProblem p, const Setting& s) {
  const Tensor x = s.normal(p.input_shape(), 1), w = s.parameter(p.filter_shape(), 2, p.dtype);
  const Tensor bias = p.bias ? s.parameter({p.out_channels}, 3) : Tensor{};
  const Tensor dy = s.normal(p.output_shape(), 4);
  const Tensor y = s.result(p.output_shape()), dx = s.result(p.input_shape());
  const Tensor dw = s.result_parameter(p.filter_shape());
  const Tensor dbias = p.bias ? s.result_parameter({p.out_channels}) : Tensor{};
  provider.forward(p, x, w, bias, {}, y);
  CHECK(written(y));
  provider.backward_data(p, dy, w, y, dx);
  CHECK(written(dx));
  provider.backward_filter(p, x, dy, y, dw, dbias);
  CHECK(written(dw));
  if (p.bias) CHECK(written(dbias));
  p.residual = true;
  if (provider.priority(p) >= 0) provider.forward(p, x, w, bias, s.normal(p.output_shape(), 5), y);
}

void run_conv_transpose2d(const ConvTranspose2dProvider& provider, const ConvTranspose2dProblem& p,
                          const Setting& s) {
  const Tensor x = s.normal(p.input_shape(), 1), w = s.parameter(p.filter_shape(), 2, p.dtype);
  const Tensor bias = p.bias ? s.parameter({p.out_channels}, 3) : Tensor{};
  const Tensor dy = s.normal(p.output_shape(), 4);
  const Tensor y = s.result(p.output_shape()), dx = s.result(p.input_shape());
  const Tensor dw = s.result_parameter(p.filter_shape());
  const Tensor dbias = p.bias ? s.result_parameter({p.out_channels}) : Tensor{};
  provider.forward(p, x, w, bias, y);
  CHECK(written(y));
  provider.backward_data(p, dy, w, dx);
  CHECK(written(dx));
  provider.backward_filter(p, x, dy, dw, dbias);
  CHECK(written(dw));
}

void run_linear(const LinearProvider& provider, const LinearProblem& p, const Setting& s) {
  const Tensor x = s.normal(p.input_shape(), 1), w = s.parameter(p.weight_shape(), 2, p.dtype);
  const Tensor bias = p.bias ? s.parameter({p.out_features}, 3) : Tensor{};
  const Tensor dy = s.normal(p.output_shape(), 4);
  const Tensor y = s.result(p.output_shape()), dx = s.result(p.input_shape());
  const Tensor dw = s.result_parameter(p.weight_shape());
  const Tensor dbias = p.bias ? s.result_parameter({p.out_features}) : Tensor{};
  provider.forward(p, x, w, bias, y);
  CHECK(written(y));
  provider.backward_data(p, dy, w, y, dx);
  CHECK(written(dx));
  provider.backward_weight(p, x, dy, y, dw, dbias);
  CHECK(written(dw));
}

// Every setting on every case that is small enough.
template <class Cases, class Registry, class Run>
void all(const Cases& cases, const Registry& registry, const Run& run) {
  for (const auto& c : cases) {
    if (c.problem.flops() > kFlops) continue;
    for (const Setting& setting : kSettings) {
      auto problem = c.problem;
      problem.dtype = setting.dtype;
      CAPTURE(c.name);
      test::every_provider(registry, problem, setting, [&](const auto& provider, const Setting& s) {
        run(provider, problem, s);
      });
    }
  }
}

}  // namespace

TEST_CASE("every conv2d provider") {
  all(conv2d_cases::awkward(), conv2d_providers(), run_conv2d);
}

TEST_CASE("every conv_transpose2d provider") {
  all(conv_transpose2d_cases::awkward(), conv_transpose2d_providers(), run_conv_transpose2d);
}

TEST_CASE("every linear provider") {
  all(linear_cases::all(), linear_providers(), run_linear);
}
