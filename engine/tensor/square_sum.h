// The sum of squares of many tensors at once, without waiting for their device.
#pragma once

#include <span>

#include "engine/tensor/tensor.h"

namespace thorax {

// sum: {1} f64, in a fixed order. non_finite: {1} i32, 1 when the sum, and so an element, is not
// finite, else 0. Both on the tensors' device (the CPU when there is no tensor).
struct SquareSum {
  Tensor sum, non_finite;
};
// f32 or f64, on a GPU also f16 and bf16. Throws Error "[tensor] ..." when the tensors are on
// several devices.
SquareSum sum_of_squares(std::span<const Tensor> tensors);

}  // namespace thorax
