// The fully connected layer on tensor cores: float16 and bfloat16 tensors, float32 sums, bias and
// weight gradient. The three products are those of a 1 x 1 convolution of images of one pixel
// (kernels/common/gpu_mma.cuh): 128 rows x 32 or 64 outputs a block, most of them padding where a
// batch is small.
//
//   cuda/mma         float16 from sm_75 on: m16n8k8, the next tiles wait in registers
//   cuda/mma_async   float16 and bfloat16 from sm_80 on: m16n8k16, tiles by cp.async
#include "kernels/common/gpu_mma.cuh"
#include "kernels/linear/linear.h"

namespace thorax {
namespace THORAX_GPU {
namespace mma {
namespace {

ConvShape shape_of(const LinearProblem& p) {
  return dense_shape(p.rows, p.in_features, p.out_features);
}

template <class Math>
void forward(const LinearProblem& p, const Tensor& x, const Tensor& weight, const Tensor& bias,
             const Tensor& y) {
  conv_forward<Math>(shape_of(p), x, weight, bias, {}, p.relu, y);
}

template <class Math>
void backward_data(const LinearProblem& p, const Tensor& dy, const Tensor& weight, const Tensor& y,
                   const Tensor& dx) {
  if (dx.numel() == 0) return;
  conv_adjoint<Math>(shape_of(p), p.relu ? passes::masked_gradient(dy, y) : dy, weight, {}, dx);
}

template <class Math>
void backward_weight(const LinearProblem& p, const Tensor& x, const Tensor& dy, const Tensor& y,
                     const Tensor& dweight, const Tensor& dbias) {
  const Tensor gradient = p.relu ? passes::masked_gradient(dy, y) : dy;
  conv_filter_gradient<Math>(shape_of(p), x, gradient, dweight);
  if (dbias.defined()) passes::bias_gradient(gradient, dbias);
}

}  // namespace

THORAX_PROVIDER(linear_mma, linear_providers(),
                {.name = "cuda/mma",
                 .device = THORAX_GPU_KIND,
                 .priority =
                     [](const LinearProblem& p) { return turing_priority(p.dtype, shape_of(p)); },
                 .forward = forward<HalfTuring>,
                 .backward_data = backward_data<HalfTuring>,
                 .backward_weight = backward_weight<HalfTuring>})

THORAX_PROVIDER(linear_mma_async, linear_providers(),
                {.name = "cuda/mma_async",
                 .device = THORAX_GPU_KIND,
                 .priority =
                     [](const LinearProblem& p) { return ampere_priority(p.dtype, shape_of(p)); },
                 .forward =
                     [](const LinearProblem& p, auto&... t) {
                       p.dtype == DType::f16 ? forward<HalfAmpere>(p, t...)
                                             : forward<BFloat16Ampere>(p, t...);
                     },
                 .backward_data =
                     [](const LinearProblem& p, auto&... t) {
                       p.dtype == DType::f16 ? backward_data<HalfAmpere>(p, t...)
                                             : backward_data<BFloat16Ampere>(p, t...);
                     },
                 .backward_weight =
                     [](const LinearProblem& p, auto&... t) {
                       p.dtype == DType::f16 ? backward_weight<HalfAmpere>(p, t...)
                                             : backward_weight<BFloat16Ampere>(p, t...);
                     }})

}  // namespace mma
}  // namespace THORAX_GPU
}  // namespace thorax
