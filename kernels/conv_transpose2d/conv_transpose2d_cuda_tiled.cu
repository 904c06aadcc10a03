// Transposed convolution on a GPU as products in tiles, float32, one group. It is the adjoint of
// the convolution from y to x with the same filter, so all three passes are those of conv2d:
//
//   forward         the adjoint of that convolution, plus a bias
//   data gradient   that convolution, of dy
//   filter gradient its filter gradient, with dy as the image and x as the gradient
//
// What it adds to conv_transpose2d_cuda_naive.cu: what conv2d_cuda_tiled.cu adds to the naive
// convolution (kernels/common/gemm_tile.cuh, implicit_gemm_sources.cuh). UNet's 2 x 2 with stride 2
// has patches that lie side by side: all four taps of a pixel are one row of one product, and x is
// read once.
#include "kernels/common/gpu_gemm.cuh"
#include "kernels/conv_transpose2d/conv_shape.h"

namespace thorax {
namespace THORAX_GPU {
namespace {

void forward(const ConvTranspose2dProblem& p, const Tensor& x, const Tensor& w, const Tensor& bias,
             const Tensor& y) {
  conv_adjoint("gemm_kernel<conv_transpose2d_forward_tiled>", conv_shape(p), x, {}, w, bias, y);
}

void backward_data(const ConvTranspose2dProblem& p, const Tensor& dy, const Tensor& w,
                   const Tensor& dx) {
  conv_forward("gemm_kernel<conv_transpose2d_backward_data_tiled>", conv_shape(p), dy, w, {}, {},
               false, dx);
}

void backward_filter(const ConvTranspose2dProblem& p, const Tensor& x, const Tensor& dy,
                     const Tensor& dw, const Tensor& dbias) {
  conv_filter_gradient("gemm_kernel<conv_transpose2d_backward_filter_tiled>", conv_shape(p), dy, x,
                       {}, dw);
  if (dbias.defined()) channel_sums(dy, {}, dbias);
}

THORAX_PROVIDER(conv_transpose2d_cuda_tiled, conv_transpose2d_providers(),
                {.name = "cuda/tiled",
                 .device = THORAX_GPU_KIND,
                 .priority =
                     [](const ConvTranspose2dProblem& p) {
                       return p.dtype == DType::f32 && supported(conv_shape(p)) ? 10 : -1;
                     },
                 .forward = forward,
                 .backward_data = backward_data,
                 .backward_filter = backward_filter})

}  // namespace
}  // namespace THORAX_GPU
}  // namespace thorax
