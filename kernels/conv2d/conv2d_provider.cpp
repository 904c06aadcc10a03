// Which provider computes a pass, and what providers are measured with.
#include "kernels/common/precision.h"
#include "kernels/common/trial.h"
#include "kernels/conv2d/conv2d.h"

namespace thorax {
namespace {

using Trial = Registry<Conv2dProvider>::Trial;

Trial make_trial(const Conv2dProblem& p, Conv2dPass pass, Device device) {
  const auto values = [&](const Shape& shape, DType dtype, std::uint64_t seed) {
    return trial_values(shape, dtype, device, seed);
  };
  const DType parameters = parameter_dtype(p.dtype);
  const Shape channels{p.out_channels};
  // One more term each for bias and residual.
  const std::int64_t taps = p.kernel_h * p.kernel_w, per_group = p.in_channels / p.groups;
  const std::int64_t pixels = p.batch * p.out_height() * p.out_width();
  if (pass == Conv2dPass::forward) {
    const Tensor x = values(p.input_shape(), p.dtype, 1), w = values(p.filter_shape(), p.dtype, 2);
    const Tensor bias = p.bias ? values(channels, parameters, 3) : Tensor{};
    const Tensor residual = p.residual ? values(p.output_shape(), p.dtype, 4) : Tensor{};
    const Tensor y = Tensor::empty(p.output_shape(), p.dtype, device);
    return {{y}, {trial_bound(taps * per_group + 2, p.dtype, p.dtype)}, [=](const auto& provider) {
              provider.forward(p, x, w, bias, residual, y);
            }};
  }
  const Tensor dy = values(p.output_shape(), p.dtype, 5);
  const Tensor y = p.relu ? values(p.output_shape(), p.dtype, 6) : Tensor{};
  if (pass == Conv2dPass::backward_data) {
    const Tensor w = values(p.filter_shape(), p.dtype, 2);
    const Tensor dx = Tensor::empty(p.input_shape(), p.dtype, device);
    return {{dx},
            {trial_bound(taps * (p.out_channels / p.groups), p.dtype, p.dtype)},
            [=](const auto& provider) { provider.backward_data(p, dy, w, y, dx); }};
  }
  const Tensor x = values(p.input_shape(), p.dtype, 1);
  const Tensor dw = Tensor::empty(p.filter_shape(), parameters, device);
  const Tensor dbias = p.bias ? Tensor::empty(channels, parameters, device) : Tensor{};
  const double bound = trial_bound(pixels, p.dtype, parameters);
  Trial trial{{dw}, {bound}, [=](const auto& provider) {
                provider.backward_filter(p, x, dy, y, dw, dbias);
              }};
  if (p.bias) {
    trial.outputs.push_back(dbias);
    trial.bounds.push_back(bound);
  }
  return trial;
}

}  // namespace

const Conv2dProvider& conv2d_provider(const Conv2dProblem& p, Conv2dPass pass, Device device) {
  constexpr const char* kNames[] = {"forward", "backward_data", "backward_filter"};
  const std::int64_t in = p.input_shape().numel(), out = p.output_shape().numel();
  const auto bytes = static_cast<std::size_t>(in + (p.relu || p.residual ? 2 : 1) * out +
                                              p.filter_shape().numel()) *
                     size_of(p.dtype);
  return conv2d_providers().select(p, device, kNames[static_cast<int>(pass)], bytes,
                                   [&] { return make_trial(p, pass, device); });
}

}  // namespace thorax
