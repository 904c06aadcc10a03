// Matrix products on tensor cores, for the providers cuda/mma and cuda/mma_async of conv2d,
// conv_transpose2d and linear: tensors of 16 bits (or float32 rounded to tf32), sums, bias and the
// filter's gradient in float32, in a fixed order of sums. What gpu_gemm.cuh is for float32;
// kernels/conv2d/TENSOR_CORES.md draws the index maps. The templates are defined by mma_gather.cuh
// and mma_filter.cuh and compiled once for each arithmetic, in mma_*.cu.
#pragma once

#include "engine/runtime/launch.cuh"
#include "kernels/common/implicit_gemm.h"
#include "kernels/common/passes.cuh"

namespace thorax {
namespace THORAX_GPU {
namespace mma {

using gemm::ConvShape;

// The arithmetics (mma_core.cuh).
struct HalfTuring;      // float16, m16n8k8: sm_75
struct HalfAmpere;      // float16, m16n8k16, cp.async: sm_80
struct BFloat16Ampere;  // bfloat16, the same
struct Tf32Ampere;      // float32 tensors whose factors lose 13 bits

// Tensors may be channel slices except filters (KRSC), bias and the filter's gradient; undefined
// ones are absent. A tensor of rank 2 is a map of one pixel an image.
//
// y = act(x * w + bias + residual), act = ReLU or identity.
template <class Math>
void conv_forward(const ConvShape&, const Tensor& x, const Tensor& w, const Tensor& bias,
                  const Tensor& residual, bool relu, const Tensor& y);
// x = (adjoint of x -> x * w)(y) + bias, bias per channel of x.
template <class Math>
void conv_adjoint(const ConvShape&, const Tensor& y, const Tensor& w, const Tensor& bias,
                  const Tensor& x);
// dw = gradient of the filter, float32.
template <class Math>
void conv_filter_gradient(const ConvShape&, const Tensor& x, const Tensor& dy, const Tensor& dw);

// A fully connected layer is a 1 x 1 convolution of images of one pixel.
inline ConvShape dense_shape(std::int64_t rows, std::int64_t in, std::int64_t out) {
  return {.batch = rows,
          .height = 1,
          .width = 1,
          .channels = in,
          .out_height = 1,
          .out_width = 1,
          .out_channels = out,
          .kernel_h = 1,
          .kernel_w = 1,
          .stride_h = 1,
          .stride_w = 1,
          .pad_h = 0,
          .pad_w = 0,
          .dilation_h = 1,
          .dilation_w = 1,
          .groups = 1};
}

inline int compute_capability() {
  return device_info(current_device(THORAX_GPU_KIND)).compute_capability;
}
// Priorities of the two rungs, -1 where the type, the current device or the shape does not allow
// them. bfloat16 has no instruction before sm_80.
inline int turing_priority(DType dtype, const ConvShape& shape) {
  return dtype == DType::f16 && compute_capability() >= 75 && passes::fits(shape) ? 20 : -1;
}
inline int ampere_priority(DType dtype, const ConvShape& shape) {
  const bool type = dtype == DType::f16 || dtype == DType::bf16;
  return type && compute_capability() >= 80 && passes::fits(shape) ? 25 : -1;
}

}  // namespace mma
}  // namespace THORAX_GPU
}  // namespace thorax
