// Convolution on the tape.
#include "engine/autograd/trace.h"
#include "engine/runtime/flop_count.h"
#include "engine/runtime/profile.h"
#include "kernels/common/precision.h"
#include "kernels/conv2d/conv2d.h"

namespace thorax {

Variable conv2d(const Variable& x, const Variable& w, const Variable& bias,
                const Conv2dOptions& options) {
  const Tensor bias_value = bias.defined() ? bias.value() : Tensor{};
  const Conv2dProblem problem = conv2d_problem(x.value(), w.value(), bias_value, options);
  const ProfileScope scope("conv2d", "forward", [&] { return problem.to_string(); });
  count_flops(problem.flops());
  const Device device = x.value().device();
  const Tensor y = options.out.defined()
                       ? options.out
                       : Tensor::empty(problem.output_shape(), problem.dtype, device);
  const Tensor filter = w.value().to(problem.dtype);
  const Conv2dProvider& chosen = conv2d_provider(problem, Conv2dPass::forward, device);
  if (options.statistics != nullptr && chosen.forward_with_statistics != nullptr && !problem.bias &&
      !problem.residual && !problem.relu && y.numel() > 0) {
    chosen.forward_with_statistics(problem, x.value(), filter, y, *options.statistics);
  } else {
    chosen.forward(problem, x.value(), filter, bias_value, options.residual, y);
  }
  if (tracing())
    trace_operation({"conv2d",
                     {x.value(), w.value(), bias_value, options.residual},
                     y,
                     {{"kernel", {problem.kernel_h, problem.kernel_w}},
                      {"stride", {problem.stride_h, problem.stride_w}},
                      {"pad", {problem.pad_h, problem.pad_w}},
                      {"dilation", {problem.dilation_h, problem.dilation_w}},
                      {"groups", problem.groups},
                      {"relu", problem.relu}}});
  if (!needs_grad({x, w, bias})) return Variable(y);
  THORAX_CHECK(
      !options.residual.defined(),
      "[conv2d] a residual in the epilogue is for inference; its gradient is not recorded");
  THORAX_CHECK(
      !w.requires_grad() || w.value().dtype() == parameter_dtype(problem.dtype),
      "[conv2d] the gradient of a {} filter would lose its small parts; keep it in float32",
      name_of(w.value().dtype()));
  // x is needed for dw only, y for the ReLU's mask only: a frozen filter keeps no activation.
  const bool filter_grad = w.requires_grad() || bias.requires_grad();
  const Tensor saved_x = filter_grad ? x.value() : Tensor{};
  const Tensor saved_y = problem.relu ? y : Tensor{};
  return record("conv2d", y, {x, w, bias},
                [problem, device, saved_x, saved_y, filter](const Tensor& dy,
                                                            const std::vector<bool>& needs) {
                  std::vector<Tensor> grads(3);
                  const DType parameters = parameter_dtype(problem.dtype);
                  if (needs[1] || needs[2]) {
                    count_flops(problem.flops());
                    // Providers give dw and dbias in one pass over dy.
                    grads[1] = Tensor::empty(problem.filter_shape(), parameters, dy.device());
                    if (problem.bias)
                      grads[2] = Tensor::empty({problem.out_channels}, parameters, dy.device());
                    conv2d_provider(problem, Conv2dPass::backward_filter, device)
                        .backward_filter(problem, saved_x, dy, saved_y, grads[1], grads[2]);
                  }
                  if (needs[0]) {
                    count_flops(problem.flops());
                    grads[0] = Tensor::empty(problem.input_shape(), problem.dtype, dy.device());
                    conv2d_provider(problem, Conv2dPass::backward_data, device)
                        .backward_data(problem, dy, filter, saved_y, grads[0]);
                  }
                  return grads;
                });
}

}  // namespace thorax
