// Batch normalisation on the tape, and its running statistics.
#include "engine/autograd/trace.h"
#include "engine/runtime/profile.h"
#include "kernels/batch_norm/batch_norm.h"

namespace thorax {
namespace {

// Gradient memory that nobody else sees may hold a result: no fresh memory has to be fetched.
bool reusable(const Tensor& gradient) {
  return gradient.unique() && gradient.contiguous() &&
         gradient.storage()->bytes() == gradient.bytes();
}

}  // namespace

Variable batch_norm(const Variable& x, const Variable& weight, const Variable& bias,
                    const BatchNormState& state, const BatchNormOptions& options,
                    const Variable& residual) {
  const Tensor residual_value = residual.defined() ? residual.value() : Tensor{};
  const BatchNormProblem problem =
      batch_norm_problem(x.value(), weight.value(), bias.value(), state, options, residual_value);
  const ProfileScope scope("batch_norm", "forward", [&] { return problem.to_string(); });
  const Device device = x.value().device();
  const bool tracked = needs_grad({x, weight, bias, residual});
  THORAX_CHECK(!tracked || !options.out.defined() || options.out.raw() != x.value().raw(),
               "[batch_norm] the destination is the input {}, which the backward pass needs",
               x.shape());
  BatchNormStatistics known{Tensor::empty({problem.channels()}, DType::f64, device),
                            Tensor::empty({problem.channels()}, DType::f64, device)};
  if (device.kind != DeviceKind::cpu)
    known.coefficients = Tensor::empty({3, problem.channels()}, DType::f32, device);
  if (!problem.training) {
    // A copy: what backward sees must not follow later updates of the running statistics.
    known.mean.copy_from(state.running_mean);
    known.variance.copy_from(state.running_var);
  } else if (!recomputing()) {
    known.running_mean = state.running_mean;
    known.running_var = state.running_var;
    known.momentum = state.momentum;
  }
  const Tensor y =
      options.out.defined() ? options.out : Tensor::empty(problem.shape, problem.dtype, device);
  const BatchNormProvider& provider = batch_norm_providers().select(problem, device.kind);
  if (problem.training && options.statistics.values.defined() &&
      provider.forward_from_parts != nullptr && y.numel() > 0) {
    provider.forward_from_parts(problem, x.value(), options.statistics, weight.value(),
                                bias.value(), residual_value, known, y);
  } else {
    provider.forward(problem, x.value(), weight.value(), bias.value(), residual_value, known, y);
  }
  known.running_mean = known.running_var = {};  // backward has no use for them
  if (tracing())
    trace_operation(
        {"batch_norm",
         {x.value(), weight.value(), bias.value(), state.running_mean, state.running_var,
          residual_value},
         y,
         {{"epsilon", problem.epsilon}, {"training", problem.training}, {"relu", problem.relu}}});
  if (!tracked) return Variable(y);
  return record(
      "batch_norm", y, {x, weight, bias, residual},
      [problem, &provider, known, saved_x = x.value(), saved_y = problem.relu ? y : Tensor{},
       w = weight.value(), b = bias.value()](const Tensor& dy, const std::vector<bool>& needs) {
        const ProfileScope backward_scope("batch_norm", "backward",
                                          [&] { return problem.to_string(); });
        std::vector<Tensor> grads(4);
        const bool masked_residual = needs[3] && problem.relu;
        const bool reuse = reusable(dy);
        const auto fresh = [&](const Shape& shape, DType dtype) {
          return Tensor::empty(shape, dtype, dy.device());
        };
        const Shape channels{problem.channels()};
        if (needs[3]) grads[3] = problem.relu && !reuse ? fresh(problem.shape, problem.dtype) : dy;
        if (needs[0]) grads[0] = reuse && !needs[3] ? dy : fresh(problem.shape, problem.dtype);
        if (needs[1]) grads[1] = fresh(channels, problem.parameter_dtype());
        if (needs[2]) grads[2] = fresh(channels, problem.parameter_dtype());
        if (needs[0] || needs[1] || needs[2] || masked_residual)
          // The provider of the forward pass: the coefficients are its own.
          provider.backward(problem, dy, saved_x, saved_y, w, b, known, grads[0],
                            masked_residual ? grads[3] : Tensor{}, grads[1], grads[2]);
        return grads;
      });
}

}  // namespace thorax
