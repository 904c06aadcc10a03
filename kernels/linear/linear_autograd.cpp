// The fully connected layer on the tape.
#include "engine/autograd/trace.h"
#include "engine/runtime/flop_count.h"
#include "engine/runtime/profile.h"
#include "kernels/common/precision.h"
#include "kernels/linear/linear.h"

namespace thorax {

Variable linear(const Variable& x, const Variable& weight, const Variable& bias, bool relu) {
  const Tensor bias_value = bias.defined() ? bias.value() : Tensor{};
  const LinearProblem problem = linear_problem(x.value(), weight.value(), bias_value, relu);
  const ProfileScope scope("linear", "forward", [&] { return problem.to_string(); });
  count_flops(problem.flops());
  const Device device = x.value().device();
  const Tensor y = Tensor::empty(problem.output_shape(), problem.dtype, x.value().device());
  const Tensor rounded = weight.value().to(problem.dtype);
  linear_provider(problem, LinearPass::forward, device)
      .forward(problem, x.value(), rounded, bias_value, y);
  if (tracing())
    trace_operation({"linear", {x.value(), weight.value(), bias_value}, y, {{"relu", relu}}});
  if (!needs_grad({x, weight, bias})) return Variable(y);
  THORAX_CHECK(
      !weight.requires_grad() || weight.value().dtype() == parameter_dtype(problem.dtype),
      "[linear] the gradient of a {} weight would lose its small parts; keep it in float32",
      name_of(weight.value().dtype()));
  // x is needed for the weight's gradient only, y for the ReLU's mask only.
  const bool weight_grad = weight.requires_grad() || bias.requires_grad();
  const Tensor saved_x = weight_grad ? x.value() : Tensor{};
  const Tensor saved_y = relu ? y : Tensor{};
  return record("linear", y, {x, weight, bias},
                [problem, device, saved_x, saved_y, rounded](const Tensor& dy,
                                                             const std::vector<bool>& needs) {
                  std::vector<Tensor> grads(3);
                  const DType parameters = parameter_dtype(problem.dtype);
                  if (needs[1] || needs[2]) {
                    count_flops(problem.flops());
                    grads[1] = Tensor::empty(problem.weight_shape(), parameters, dy.device());
                    if (problem.bias)
                      grads[2] = Tensor::empty({problem.out_features}, parameters, dy.device());
                    linear_provider(problem, LinearPass::backward_weight, device)
                        .backward_weight(problem, saved_x, dy, saved_y, grads[1], grads[2]);
                  }
                  if (needs[0]) {
                    count_flops(problem.flops());
                    grads[0] = Tensor::empty(problem.input_shape(), problem.dtype, dy.device());
                    linear_provider(problem, LinearPass::backward_data, device)
                        .backward_data(problem, dy, rounded, saved_y, grads[0]);
                  }
                  return grads;
                });
}

}  // namespace thorax
