// Matrix products of two variables.
#pragma once

#include "engine/autograd/variable.h"

namespace thorax {

// y[..., m, n] = sum_k a[..., m, k] b[..., k, n]. a: ... x M x K; b: K x N, or ... x K x N with the
// same leading axes as a, one product each. Differentiable in both, f32 or f64, on GPUs f32, f16 or
// bf16, of one type.
//
// The product is a 1x1 convolution's: y is its data gradient, a's gradient its forward pass, b's
// its filter gradient, so that every provider of conv2d serves it (`--provider`, ProviderScope
// "conv2d") and nothing is transposed. Throws Error "[matmul] ..." naming shapes, types or devices
// that do not fit.
Variable matmul(const Variable& a, const Variable& b);

}  // namespace thorax
