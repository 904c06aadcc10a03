// Concatenation along channels:
//   y[..., offset_i + c] = part_i[..., c],  offset_i = channels of the parts before
// without moving a value where the parts were written side by side in the first place.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/autograd/variable.h"

namespace thorax {

// Memory for a concatenation whose parts are still to be computed: pass parts[i] as the `out` of
// the operation that makes part i, and concat() of the results is `wide` itself.
struct ConcatBuffer {
  Tensor wide;                // N x H x W x (sum of channels), uninitialised
  std::vector<Tensor> parts;  // channel slices of it
};
ConcatBuffer concat_buffer(std::int64_t batch, std::int64_t height, std::int64_t width,
                           std::span<const std::int64_t> channels, DType dtype = DType::f32,
                           Device device = {});

// Differentiable. parts[i]: ... x C_i, equal in every other axis and in type -> ... x sum(C_i).
// Adjacent channel slices of one storage give a view; all else is copied. The gradients are channel
// slices of the output's gradient. Throws Error "[concat] ..." naming the shapes.
Variable concat(const std::vector<Variable>& parts);

}  // namespace thorax
