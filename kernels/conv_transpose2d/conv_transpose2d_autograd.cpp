// Transposed convolution on the tape.
#include "engine/autograd/trace.h"
#include "engine/runtime/flop_count.h"
#include "engine/runtime/profile.h"
#include "kernels/common/precision.h"
#include "kernels/conv_transpose2d/conv_transpose2d.h"

namespace thorax {

Variable conv_transpose2d(const Variable& x, const Variable& w, const Variable& bias,
                          const ConvTranspose2dOptions& options) {
  const Tensor bias_value = bias.defined() ? bias.value() : Tensor{};
  const ConvTranspose2dProblem problem =
      conv_transpose2d_problem(x.value(), w.value(), bias_value, options);
  const ProfileScope scope("conv_transpose2d", "forward", [&] { return problem.to_string(); });
  count_flops(problem.flops());
  const Device device = x.value().device();
  const Tensor y = options.out.defined()
                       ? options.out
                       : Tensor::empty(problem.output_shape(), problem.dtype, x.value().device());
  const Tensor filter = w.value().to(problem.dtype);
  conv_transpose2d_provider(problem, ConvTranspose2dPass::forward, device)
      .forward(problem, x.value(), filter, bias_value, y);
  if (tracing())
    trace_operation({"conv_transpose2d",
                     {x.value(), w.value(), bias_value},
                     y,
                     {{"kernel", {problem.kernel_h, problem.kernel_w}},
                      {"stride", {problem.stride_h, problem.stride_w}},
                      {"pad", {problem.pad_h, problem.pad_w}},
                      {"extra", {problem.extra_h, problem.extra_w}},
                      {"dilation", {problem.dilation_h, problem.dilation_w}},
                      {"groups", problem.groups}}});
  if (!needs_grad({x, w, bias})) return Variable(y);
  THORAX_CHECK(!w.requires_grad() || w.value().dtype() == parameter_dtype(problem.dtype),
               "[conv_transpose2d] the gradient of a {} filter would lose its small parts; keep it "
               "in float32",
               name_of(w.value().dtype()));
  // x is needed for dw only: a frozen filter keeps no activation.
  const bool filter_grad = w.requires_grad() || bias.requires_grad();
  const Tensor saved_x = filter_grad ? x.value() : Tensor{};
  return record(
      "conv_transpose2d", y, {x, w, bias},
      [problem, device, saved_x, filter](const Tensor& dy, const std::vector<bool>& needs) {
        const ProfileScope backward_scope("conv_transpose2d", "backward",
                                          [&] { return problem.to_string(); });
        std::vector<Tensor> grads(3);
        const DType parameters = parameter_dtype(problem.dtype);
        if (needs[1] || needs[2]) {
          count_flops(problem.flops());
          grads[1] = Tensor::empty(problem.filter_shape(), parameters, dy.device());
          if (problem.bias)
            grads[2] = Tensor::empty({problem.out_channels}, parameters, dy.device());
          conv_transpose2d_provider(problem, ConvTranspose2dPass::backward_filter, device)
              .backward_filter(problem, saved_x, dy, grads[1], grads[2]);
        }
        if (needs[0]) {
          count_flops(problem.flops());
          grads[0] = Tensor::empty(problem.input_shape(), problem.dtype, dy.device());
          conv_transpose2d_provider(problem, ConvTranspose2dPass::backward_data, device)
              .backward_data(problem, dy, filter, grads[0]);
        }
        return grads;
      });
}

}  // namespace thorax
