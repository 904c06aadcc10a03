// Convolution on a GPU, second rung: implicit GEMM in tiles, on CUDA cores, float32.
//
//   forward         block = 128 x 128 (or smaller) outputs: pixels x k, summed over (r, s, c)
//   data gradient   block = pixels of x of one stride class x c, summed over (r, s, k)
//   filter gradient block = k x (r, s, c), summed over output pixels; parts of the sum in parallel
//
// What it adds to conv2d_cuda_naive.cu: a number that is read from memory is used by a whole tile
// (shared memory) and by 8 x 8 products of a thread (registers), loads are 16 bytes wide where
// channels allow, the next slab is on its way while one is multiplied, and small maps are cut along
// the sum so that they fill the GPU. Bias, residual and ReLU are applied to the sums in registers;
// the ReLU's mask to dy as it is loaded. The tile is kernels/common/gemm_tile.cuh, the index maps
// are in implicit_gemm.cuh.
#include "kernels/common/gpu_gemm.cuh"
#include "kernels/conv2d/conv_shape.h"

namespace thorax {
namespace THORAX_GPU {
namespace {

void forward(const Conv2dProblem& p, const Tensor& x, const Tensor& w, const Tensor& bias,
             const Tensor& residual, const Tensor& y) {
  conv_forward("gemm_kernel<conv2d_forward_tiled>", conv_shape(p), x, w, bias, residual, p.relu, y);
}

void forward_with_statistics(const Conv2dProblem& p, const Tensor& x, const Tensor& w,
                             const Tensor& y, ChannelParts& parts) {
  conv_forward("gemm_kernel<conv2d_forward_tiled>", conv_shape(p), x, w, {}, {}, false, y, &parts);
}

void backward_data(const Conv2dProblem& p, const Tensor& dy, const Tensor& w, const Tensor& y,
                   const Tensor& dx) {
  conv_adjoint("gemm_kernel<conv2d_backward_data_tiled>", conv_shape(p), dy, p.relu ? y : Tensor{},
               w, {}, dx);
}

void backward_filter(const Conv2dProblem& p, const Tensor& x, const Tensor& dy, const Tensor& y,
                     const Tensor& dw, const Tensor& dbias) {
  const Tensor gate = p.relu ? y : Tensor{};
  conv_filter_gradient("gemm_kernel<conv2d_backward_filter_tiled>", conv_shape(p), x, dy, gate, dw);
  if (dbias.defined()) channel_sums(dy, gate, dbias);
}

THORAX_PROVIDER(conv2d_cuda_tiled, conv2d_providers(),
                {.name = "cuda/tiled",
                 .device = THORAX_GPU_KIND,
                 .priority =
                     [](const Conv2dProblem& p) {
                       return p.dtype == DType::f32 && supported(conv_shape(p)) ? 10 : -1;
                     },
                 .forward = forward,
                 .backward_data = backward_data,
                 .backward_filter = backward_filter,
                 .forward_with_statistics = forward_with_statistics})

}  // namespace
}  // namespace THORAX_GPU
}  // namespace thorax
