// Statistics of a map's channels as one operation leaves them for the next.
#pragma once

#include <cstdint>

#include "engine/tensor/tensor.h"

namespace thorax {

// Statistics of every channel over chunks of the map's pixels: what a batch norm would otherwise
// have to read the whole map for. Per chunk three rows of C floats: a pivot (its first value), its
// mean - the pivot, and the sum of squared distances from its mean. The pivot keeps the digits of a
// mean far from zero. An undefined `values` means that nobody made them.
struct ChannelParts {
  Tensor values;                  // chunks x 3 x C, f32
  std::int64_t chunk_pixels = 0;  // pixels of a chunk, in the map's order; the last may be shorter
};

}  // namespace thorax
