// Which provider computes a pass, and what providers are measured with.
#include "kernels/common/precision.h"
#include "kernels/common/trial.h"
#include "kernels/conv_transpose2d/conv_transpose2d.h"

namespace thorax {
namespace {

using Pass = ConvTranspose2dPass;
using Trial = Registry<ConvTranspose2dProvider>::Trial;

Trial make_trial(const ConvTranspose2dProblem& p, Pass pass, Device device) {
  const auto values = [&](const Shape& shape, DType dtype, std::uint64_t seed) {
    return trial_values(shape, dtype, device, seed);
  };
  const DType parameters = parameter_dtype(p.dtype);
  const Shape channels{p.out_channels};
  const std::int64_t taps = p.kernel_h * p.kernel_w;
  if (pass == Pass::forward) {
    const Tensor x = values(p.input_shape(), p.dtype, 1), w = values(p.filter_shape(), p.dtype, 2);
    const Tensor bias = p.bias ? values(channels, parameters, 3) : Tensor{};
    const Tensor y = Tensor::empty(p.output_shape(), p.dtype, device);
    return {{y},
            {trial_bound(taps * (p.in_channels / p.groups) + 1, p.dtype, p.dtype)},
            [=](const auto& provider) { provider.forward(p, x, w, bias, y); }};
  }
  const Tensor dy = values(p.output_shape(), p.dtype, 5);
  if (pass == Pass::backward_data) {
    const Tensor w = values(p.filter_shape(), p.dtype, 2);
    const Tensor dx = Tensor::empty(p.input_shape(), p.dtype, device);
    return {{dx},
            {trial_bound(taps * (p.out_channels / p.groups), p.dtype, p.dtype)},
            [=](const auto& provider) { provider.backward_data(p, dy, w, dx); }};
  }
  const Tensor x = values(p.input_shape(), p.dtype, 1);
  const Tensor dw = Tensor::empty(p.filter_shape(), parameters, device);
  const Tensor dbias = p.bias ? Tensor::empty(channels, parameters, device) : Tensor{};
  Trial trial{{dw},
              {trial_bound(p.batch * p.height * p.width, p.dtype, parameters)},
              [=](const auto& provider) { provider.backward_filter(p, x, dy, dw, dbias); }};
  if (p.bias) {
    trial.outputs.push_back(dbias);
    trial.bounds.push_back(
        trial_bound(p.batch * p.out_height() * p.out_width(), p.dtype, parameters));
  }
  return trial;
}

}  // namespace

const ConvTranspose2dProvider& conv_transpose2d_provider(const ConvTranspose2dProblem& p, Pass pass,
                                                         Device device) {
  constexpr const char* kNames[] = {"forward", "backward_data", "backward_filter"};
  const auto bytes = static_cast<std::size_t>(p.input_shape().numel() + p.output_shape().numel() +
                                              p.filter_shape().numel()) *
                     size_of(p.dtype);
  return conv_transpose2d_providers().select(p, device, kNames[static_cast<int>(pass)], bytes,
                                             [&] { return make_trial(p, pass, device); });
}

}  // namespace thorax
