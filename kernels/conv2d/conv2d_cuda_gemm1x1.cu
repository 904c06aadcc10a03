// Convolution on a GPU: 1 x 1 with stride 1 and no padding, float32, which is a plain matrix
// product: pixels x channels times the filter, whatever the size of the map.
//
// What it adds to conv2d_cuda_tiled.cu: no index map. A row of the left matrix is a pixel, the next
// row the next pixel, so that a thread's loads need no division, no border and no tap, and the
// filter gradient reads both operands as they lie in memory.
#include "kernels/common/gpu_gemm.cuh"
#include "kernels/conv2d/conv2d.h"

namespace thorax {
namespace THORAX_GPU {
namespace {

int priority(const Conv2dProblem& p) {
  const bool plain = p.kernel_h == 1 && p.kernel_w == 1 && p.stride_h == 1 && p.stride_w == 1 &&
                     p.pad_h == 0 && p.pad_w == 0 && p.groups == 1;
  return plain && p.dtype == DType::f32 &&
                 dense_supported(p.batch * p.height * p.width, p.in_channels, p.out_channels)
             ? 20
             : -1;
}

void forward(const Conv2dProblem& p, const Tensor& x, const Tensor& w, const Tensor& bias,
             const Tensor& residual, const Tensor& y) {
  dense_forward("gemm_kernel<conv2d_forward_gemm1x1>", x, w, bias, residual, p.relu, y);
}

void forward_with_statistics(const Conv2dProblem&, const Tensor& x, const Tensor& w,
                             const Tensor& y, ChannelParts& parts) {
  dense_forward("gemm_kernel<conv2d_forward_gemm1x1>", x, w, {}, {}, false, y, &parts);
}

void backward_data(const Conv2dProblem& p, const Tensor& dy, const Tensor& w, const Tensor& y,
                   const Tensor& dx) {
  dense_backward("gemm_kernel<conv2d_backward_data_gemm1x1>", dy, p.relu ? y : Tensor{}, w, dx);
}

void backward_filter(const Conv2dProblem& p, const Tensor& x, const Tensor& dy, const Tensor& y,
                     const Tensor& dw, const Tensor& dbias) {
  const Tensor gate = p.relu ? y : Tensor{};
  dense_weight_gradient("gemm_kernel<conv2d_backward_filter_gemm1x1>", x, dy, gate, dw);
  if (dbias.defined()) channel_sums(dy, gate, dbias);
}

THORAX_PROVIDER(conv2d_cuda_gemm1x1, conv2d_providers(),
                {.name = "cuda/gemm1x1",
                 .device = THORAX_GPU_KIND,
                 .priority = priority,
                 .forward = forward,
                 .backward_data = backward_data,
                 .backward_filter = backward_filter,
                 .forward_with_statistics = forward_with_statistics})

}  // namespace
}  // namespace THORAX_GPU
}  // namespace thorax
