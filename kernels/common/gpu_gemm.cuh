// Matrix products on a GPU, dense and convolved, for the providers of conv2d, conv_transpose2d and
// linear: float32, one group, tensors that may be channel slices (weights, biases and their
// gradients contiguous), in a fixed order of sums. What implicit_gemm.h and gemm.h are on the CPU.
// `name` is the kernel's in error messages and profiles, "gemm_kernel<what it is for>". Undefined
// tensors are absent; `gate` is a tensor like the one before it: elements of that where the gate is
// not positive count as zero.
#pragma once

#include "engine/runtime/launch.cuh"
#include "engine/tensor/tensor.h"
#include "kernels/common/channel_parts.h"
#include "kernels/common/implicit_gemm.h"

namespace thorax {
namespace THORAX_GPU {

using gemm::ConvShape;

// Whether 32-bit indices reach all pixels and all elements of the filter, and there is one group.
bool supported(const ConvShape& shape);

// y = act(x * w + bias + residual), act = ReLU or identity. `statistics`, when not null, receives
// those of y's channels, unless the product had to be cut along its depth; y is the plain product
// then.
void conv_forward(const char* name, const ConvShape& shape, const Tensor& x, const Tensor& w,
                  const Tensor& bias, const Tensor& residual, bool relu, const Tensor& y,
                  ChannelParts* statistics = nullptr);
// x = (adjoint of x -> x * w)(y) + bias, bias per channel of x.
void conv_adjoint(const char* name, const ConvShape& shape, const Tensor& y, const Tensor& gate,
                  const Tensor& w, const Tensor& bias, const Tensor& x);
// dw = gradient of the filter.
void conv_filter_gradient(const char* name, const ConvShape& shape, const Tensor& x,
                          const Tensor& dy, const Tensor& gate, const Tensor& dw);

// The same for 1 x 1, and for fully connected layers: the last axis of x, y, dy and dx is a row of
// in or out features, w is out x in.
void dense_forward(const char* name, const Tensor& x, const Tensor& w, const Tensor& bias,
                   const Tensor& residual, bool relu, const Tensor& y,
                   ChannelParts* statistics = nullptr);
void dense_backward(const char* name, const Tensor& dy, const Tensor& gate, const Tensor& w,
                    const Tensor& dx);
void dense_weight_gradient(const char* name, const Tensor& x, const Tensor& dy, const Tensor& gate,
                           const Tensor& dw);
// Whether 32-bit indices reach.
bool dense_supported(std::int64_t rows, std::int64_t in, std::int64_t out);

// sums[c] = sum over pixels of map[pixel, c].
void channel_sums(const Tensor& map, const Tensor& gate, const Tensor& sums);

}  // namespace THORAX_GPU
}  // namespace thorax
