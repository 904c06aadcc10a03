// Mixed precision, as convolutions and the fully connected layer see it: activations and the filter
// that multiplies them in 16 bits; bias, and the gradients of filter and bias, in float32. The
// parameters themselves stay float32 ("master weights"): a step that is small beside its weight
// would be lost in 11 or 8 bits.
#pragma once

#include "engine/tensor/tensor.h"

namespace thorax {

constexpr bool is_16_bit(DType dtype) {
  return dtype == DType::f16 || dtype == DType::bf16;
}
// The type of bias, dw and dbias beside activations of `activations`.
constexpr DType parameter_dtype(DType activations) {
  return is_16_bit(activations) ? DType::f32 : activations;
}
// Whether a filter may be given for an input: of its type, or float32 for a 16-bit input.
constexpr bool filter_fits(DType filter, DType input) {
  return filter == input || filter == parameter_dtype(input);
}

}  // namespace thorax
