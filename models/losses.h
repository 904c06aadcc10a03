// Losses that are a line of arithmetic. Those with kernels of their own: dice_loss,
// bce_with_logits, cross_entropy, segmentation_loss (kernels/).
#pragma once

#include "kernels/activation/unary.h"
#include "kernels/binary/binary.h"
#include "kernels/reduce/reduce.h"

namespace thorax {

// Means over all elements, {1}; `target` has x's shape (or one that is broadcast to it), type and
// device.
inline Variable mse_loss(const Variable& x, const Tensor& target) {
  return mean(pow(x - Variable(target), 2));
}
inline Variable l1_loss(const Variable& x, const Tensor& target) {
  return mean(abs(x - Variable(target)));
}

}  // namespace thorax
