// The fully connected layer on a GPU: three dense products with the tile of
// kernels/common/gemm_tile.cuh.
//
//   forward           rows x out, summed over in; bias and ReLU on the sums in registers
//   data gradient     rows x in, summed over out
//   weight gradient   out x in, summed over rows
//
// The layers that use it have as many rows as a batch has images: 8 rows of 2048 features times
// 1000 x 2048 weights is 33 MFLOP on 8 MB, so the weights' way from memory decides. Tiles of 32 x
// 256 waste the least of the multiplier, and the sum is cut into parts so that all multiprocessors
// read.
#include "kernels/common/gpu_gemm.cuh"
#include "kernels/linear/linear.h"

namespace thorax {
namespace THORAX_GPU {
namespace {

void forward(const LinearProblem& p, const Tensor& x, const Tensor& weight, const Tensor& bias,
             const Tensor& y) {
  dense_forward("gemm_kernel<linear_forward>", x, weight, bias, {}, p.relu, y);
}

void backward_data(const LinearProblem& p, const Tensor& dy, const Tensor& weight, const Tensor& y,
                   const Tensor& dx) {
  dense_backward("gemm_kernel<linear_backward_data>", dy, p.relu ? y : Tensor{}, weight, dx);
}

void backward_weight(const LinearProblem& p, const Tensor& x, const Tensor& dy, const Tensor& y,
                     const Tensor& dweight, const Tensor& dbias) {
  const Tensor gate = p.relu ? y : Tensor{};
  dense_weight_gradient("gemm_kernel<linear_backward_weight>", x, dy, gate, dweight);
  if (dbias.defined()) channel_sums(dy, gate, dbias);
}

THORAX_PROVIDER(linear_cuda, linear_providers(),
                {.name = "cuda",
                 .device = THORAX_GPU_KIND,
                 .priority =
                     [](const LinearProblem& p) {
                       return p.dtype == DType::f32 &&
                                      dense_supported(p.rows, p.in_features, p.out_features)
                                  ? 10
                                  : -1;
                     },
                 .forward = forward,
                 .backward_data = backward_data,
                 .backward_weight = backward_weight})

}  // namespace
}  // namespace THORAX_GPU
}  // namespace thorax
