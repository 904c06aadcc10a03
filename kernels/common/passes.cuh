// The passes around a product that several GPU providers of conv2d, conv_transpose2d and linear
// need (passes.cu). All are bound by memory and touch less than the product does.
#pragma once

#include "engine/runtime/launch.cuh"
#include "engine/tensor/tensor.h"
#include "kernels/common/implicit_gemm.h"

namespace thorax {
namespace THORAX_GPU {
namespace passes {

// Whether 32 bits suffice to index pixels and depth, and the grid's limits.
bool fits(const gemm::ConvShape&);

// 0 where the forward result was <= 0, else dy: kernels that copy without looking (cp.async),
// or that read dy many times, want it ready. f32, f16 or bf16, as all that follow.
Tensor masked_gradient(const Tensor& dy, const Tensor& y);
// w[k][tap][c] of every group as [c][tap][k], `outputs` k and `channels` c a group: the filter of
// the adjoint, read along its depth. The result is (groups * channels) x taps x outputs.
Tensor transposed_filter(const Tensor& w, std::int64_t groups, std::int64_t outputs,
                         std::int64_t taps, std::int64_t channels);
// The sum of dy over pixels, float32, in a fixed order.
void bias_gradient(const Tensor& dy, const Tensor& dbias);
// to[i] = sum of the `parts` rows of `from` (parts x n, float32), in order.
void sum_parts(const Tensor& from, const Tensor& to);
// Into how many parts to cut a sum over `depth` so that `tiles` blocks each fill the GPU, without
// cutting so fine (`least` each) that adding the parts costs more than their products. `result`
// elements per part.
std::int64_t parts_for(std::int64_t tiles, std::int64_t depth, std::int64_t least,
                       std::int64_t result, std::int64_t most, Device device);

}  // namespace passes
}  // namespace THORAX_GPU
}  // namespace thorax
