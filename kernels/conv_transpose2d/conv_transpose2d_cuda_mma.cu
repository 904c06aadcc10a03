// Transposed convolution on tensor cores: float16 and bfloat16 tensors, float32 sums, bias and
// filter gradient. As in conv_transpose2d_cuda_tiled.cu the passes are those of the convolution
// from y to x, here by kernels/common/gpu_mma.cuh (kernels/conv2d/TENSOR_CORES.md). UNet's 2 x 2
// with stride 2 is one product [pixels x C] [C x (r,s,k)] whose rows are written as patches.
//
//   cuda/mma         float16 from sm_75 on: m16n8k8, the next tiles wait in registers
//   cuda/mma_async   float16 and bfloat16 from sm_80 on: m16n8k16, tiles by cp.async
#include "kernels/common/gpu_mma.cuh"
#include "kernels/conv_transpose2d/conv_shape.h"

namespace thorax {
namespace THORAX_GPU {
namespace mma {
namespace {

template <class Math>
void forward(const ConvTranspose2dProblem& p, const Tensor& x, const Tensor& w, const Tensor& bias,
             const Tensor& y) {
  conv_adjoint<Math>(conv_shape(p), x, w, bias, y);
}

template <class Math>
void backward_data(const ConvTranspose2dProblem& p, const Tensor& dy, const Tensor& w,
                   const Tensor& dx) {
  conv_forward<Math>(conv_shape(p), dy, w, {}, {}, false, dx);
}

template <class Math>
void backward_filter(const ConvTranspose2dProblem& p, const Tensor& x, const Tensor& dy,
                     const Tensor& dw, const Tensor& dbias) {
  conv_filter_gradient<Math>(conv_shape(p), dy, x, dw);
  if (dbias.defined()) passes::bias_gradient(dy, dbias);
}

}  // namespace

THORAX_PROVIDER(conv_transpose2d_mma, conv_transpose2d_providers(),
                {.name = "cuda/mma",
                 .device = THORAX_GPU_KIND,
                 .priority =
                     [](const ConvTranspose2dProblem& p) {
                       return turing_priority(p.dtype, conv_shape(p));
                     },
                 .forward = forward<HalfTuring>,
                 .backward_data = backward_data<HalfTuring>,
                 .backward_filter = backward_filter<HalfTuring>})

THORAX_PROVIDER(conv_transpose2d_mma_async, conv_transpose2d_providers(),
                {.name = "cuda/mma_async",
                 .device = THORAX_GPU_KIND,
                 .priority =
                     [](const ConvTranspose2dProblem& p) {
                       return ampere_priority(p.dtype, conv_shape(p));
                     },
                 .forward =
                     [](const ConvTranspose2dProblem& p, auto&... t) {
                       p.dtype == DType::f16 ? forward<HalfAmpere>(p, t...)
                                             : forward<BFloat16Ampere>(p, t...);
                     },
                 .backward_data =
                     [](const ConvTranspose2dProblem& p, auto&... t) {
                       p.dtype == DType::f16 ? backward_data<HalfAmpere>(p, t...)
                                             : backward_data<BFloat16Ampere>(p, t...);
                     },
                 .backward_filter =
                     [](const ConvTranspose2dProblem& p, auto&... t) {
                       p.dtype == DType::f16 ? backward_filter<HalfAmpere>(p, t...)
                                             : backward_filter<BFloat16Ampere>(p, t...);
                     }})

}  // namespace mma
}  // namespace THORAX_GPU
}  // namespace thorax
