// The vendor's transposed convolution: provider "cudnn". A transposed convolution is the data
// gradient of the convolution that maps its output to its input, so it runs as that convolution's
// passes.
#if defined(THORAX_WITH_CUDNN)

#include "kernels/common/cudnn.h"
#include "kernels/conv_transpose2d/adjoint.h"

namespace thorax {
namespace {

const Conv2dProvider& convolution() {
  return conv2d_providers().named("cudnn", DeviceKind::cuda);
}

void forward(const ConvTranspose2dProblem& p, const Tensor& x, const Tensor& w, const Tensor& bias,
             const Tensor& y) {
  convolution().backward_data(adjoint(p), x, w, {}, y);
  if (bias.defined() && y.numel() > 0) vendor::add_bias(y, bias);
}

void backward_data(const ConvTranspose2dProblem& p, const Tensor& dy, const Tensor& w,
                   const Tensor& dx) {
  convolution().forward(adjoint(p), dy, w, {}, {}, dx);
}

void backward_filter(const ConvTranspose2dProblem& p, const Tensor& x, const Tensor& dy,
                     const Tensor& dw, const Tensor& dbias) {
  convolution().backward_filter(adjoint(p), dy, x, {}, dw, {});
  if (!dbias.defined()) return;
  if (dy.numel() == 0) {
    dbias.fill(0);
    return;
  }
  vendor::sum_bias_gradient(dy, dbias);
}

int priority(const ConvTranspose2dProblem& p) {
  if (!vendor::cudnn_here()) return -1;
  const bool typed = p.dtype == DType::f32 || p.dtype == DType::f16 || p.dtype == DType::bf16;
  return typed && adjoint_fits(p) ? 0 : -1;
}

}  // namespace

THORAX_PROVIDER(conv_transpose2d_cudnn, conv_transpose2d_providers(),
                {.name = "cudnn",
                 .device = DeviceKind::cuda,
                 .priority = priority,
                 .forward = forward,
                 .backward_data = backward_data,
                 .backward_filter = backward_filter});

}  // namespace thorax

#endif
