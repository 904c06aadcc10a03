// Every convolution as a matrix product over rows read in place (kernels/common/implicit_gemm.h).
#include "kernels/conv2d/conv_shape.h"

namespace thorax {
namespace {

gemm::Pixels pixels_of(const Tensor& t) {
  return t.defined() ? gemm::Pixels{t.data<float>(), t.pixel_stride()} : gemm::Pixels{};
}

void forward(const Conv2dProblem& p, const Tensor& x, const Tensor& w, const Tensor& bias,
             const Tensor& residual, const Tensor& y) {
  if (y.numel() == 0) return;
  gemm::conv_forward(conv_shape(p), pixels_of(x), w.data<float>(),
                     bias.defined() ? bias.data<float>() : nullptr, pixels_of(residual), p.relu,
                     pixels_of(y));
}

void backward_data(const Conv2dProblem& p, const Tensor& dy, const Tensor& w, const Tensor& y,
                   const Tensor& dx) {
  if (dx.numel() == 0) return;
  gemm::conv_adjoint(conv_shape(p), pixels_of(dy), p.relu ? pixels_of(y) : gemm::Pixels{},
                     w.data<float>(), nullptr, pixels_of(dx));
}

void backward_filter(const Conv2dProblem& p, const Tensor& x, const Tensor& dy, const Tensor& y,
                     const Tensor& dw, const Tensor& dbias) {
  if (dy.numel() == 0 || dw.numel() == 0) {
    dw.fill(0);
    if (dbias.defined()) dbias.fill(0);
    return;
  }
  gemm::conv_filter_gradient(conv_shape(p), pixels_of(x), pixels_of(dy),
                             p.relu ? pixels_of(y) : gemm::Pixels{}, dw.data<float>(),
                             dbias.defined() ? dbias.data<float>() : nullptr);
}

int priority(const Conv2dProblem& p) {
  return p.dtype == DType::f32 ? 20 : -1;
}

}  // namespace

THORAX_PROVIDER(conv2d_gemm, conv2d_providers(),
                {.name = "gemm",
                 .device = DeviceKind::cpu,
                 .priority = priority,
                 .forward = forward,
                 .backward_data = backward_data,
                 .backward_filter = backward_filter});

}  // namespace thorax
