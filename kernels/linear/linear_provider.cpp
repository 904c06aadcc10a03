// Which provider computes a pass, and what providers are measured with.
#include "kernels/common/precision.h"
#include "kernels/common/trial.h"
#include "kernels/linear/linear.h"

namespace thorax {
namespace {

using Trial = Registry<LinearProvider>::Trial;

Trial make_trial(const LinearProblem& p, LinearPass pass, Device device) {
  const auto values = [&](const Shape& shape, DType dtype, std::uint64_t seed) {
    return trial_values(shape, dtype, device, seed);
  };
  const DType parameters = parameter_dtype(p.dtype);
  const Shape outputs{p.out_features};
  if (pass == LinearPass::forward) {
    const Tensor x = values(p.input_shape(), p.dtype, 1), w = values(p.weight_shape(), p.dtype, 2);
    const Tensor bias = p.bias ? values(outputs, parameters, 3) : Tensor{};
    const Tensor y = Tensor::empty(p.output_shape(), p.dtype, device);
    return {{y}, {trial_bound(p.in_features + 1, p.dtype, p.dtype)}, [=](const auto& provider) {
              provider.forward(p, x, w, bias, y);
            }};
  }
  const Tensor dy = values(p.output_shape(), p.dtype, 5);
  const Tensor y = p.relu ? values(p.output_shape(), p.dtype, 6) : Tensor{};
  if (pass == LinearPass::backward_data) {
    const Tensor w = values(p.weight_shape(), p.dtype, 2);
    const Tensor dx = Tensor::empty(p.input_shape(), p.dtype, device);
    return {{dx}, {trial_bound(p.out_features, p.dtype, p.dtype)}, [=](const auto& provider) {
              provider.backward_data(p, dy, w, y, dx);
            }};
  }
  const Tensor x = values(p.input_shape(), p.dtype, 1);
  const Tensor dw = Tensor::empty(p.weight_shape(), parameters, device);
  const Tensor dbias = p.bias ? Tensor::empty(outputs, parameters, device) : Tensor{};
  const double bound = trial_bound(p.rows, p.dtype, parameters);
  Trial trial{{dw}, {bound}, [=](const auto& provider) {
                provider.backward_weight(p, x, dy, y, dw, dbias);
              }};
  if (p.bias) {
    trial.outputs.push_back(dbias);
    trial.bounds.push_back(bound);
  }
  return trial;
}

}  // namespace

const LinearProvider& linear_provider(const LinearProblem& p, LinearPass pass, Device device) {
  constexpr const char* kNames[] = {"forward", "backward_data", "backward_weight"};
  const auto bytes = static_cast<std::size_t>(p.input_shape().numel() + p.weight_shape().numel() +
                                              2 * p.output_shape().numel()) *
                     size_of(p.dtype);
  return linear_providers().select(p, device, kNames[static_cast<int>(pass)], bytes,
                                   [&] { return make_trial(p, pass, device); });
}

}  // namespace thorax
