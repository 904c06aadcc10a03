// The convolution machinery of kernels/common/implicit_gemm.h read backwards: our input is the
// convolution's output, our output its input. A 2x2 stride-2 filter becomes four plain matrix
// products whose rows are scattered over the output.
#include "kernels/conv_transpose2d/conv_shape.h"

namespace thorax {
namespace {

gemm::Pixels pixels_of(const Tensor& t) {
  return {t.data<float>(), t.pixel_stride()};
}

void forward(const ConvTranspose2dProblem& p, const Tensor& x, const Tensor& w, const Tensor& bias,
             const Tensor& y) {
  if (y.numel() == 0) return;
  gemm::conv_adjoint(conv_shape(p), pixels_of(x), {}, w.data<float>(),
                     bias.defined() ? bias.data<float>() : nullptr, pixels_of(y));
}

void backward_data(const ConvTranspose2dProblem& p, const Tensor& dy, const Tensor& w,
                   const Tensor& dx) {
  if (dx.numel() == 0) return;
  gemm::conv_forward(conv_shape(p), pixels_of(dy), w.data<float>(), nullptr, {}, false,
                     pixels_of(dx));
}

void backward_filter(const ConvTranspose2dProblem& p, const Tensor& x, const Tensor& dy,
                     const Tensor& dw, const Tensor& dbias) {
  if (x.numel() == 0) {
    dw.fill(0);
    if (dbias.defined()) dbias.fill(0);
    return;
  }
  gemm::conv_filter_gradient(conv_shape(p), pixels_of(dy), pixels_of(x), {}, dw.data<float>(),
                             nullptr);
  if (dbias.defined())
    gemm::channel_sums(dy.pixels(), p.out_channels, pixels_of(dy), dbias.data<float>());
}

int priority(const ConvTranspose2dProblem& p) {
  return p.dtype == DType::f32 ? 20 : -1;
}

}  // namespace

THORAX_PROVIDER(conv_transpose2d_gemm, conv_transpose2d_providers(),
                {.name = "gemm",
                 .device = DeviceKind::cpu,
                 .priority = priority,
                 .forward = forward,
                 .backward_data = backward_data,
                 .backward_filter = backward_filter});

}  // namespace thorax
