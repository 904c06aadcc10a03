// Statistics of a map's channels as one operation leaves them for the next.
#pragma once

#include <cstdint>

#include "engine/tensor/tensor.h"

namespace thorax {

// Mean and sum of squared distances from it, of every channel, over chunks of the map's pixels:
// what a batch norm would otherwise have to read the whole map for. An undefined `values` means
// that nobody made them.
struct ChannelParts {
  Tensor values;                  // chunks x 2 x C, f64
  std::int64_t chunk_pixels = 0;  // pixels of a chunk, in the map's order; the last may be shorter
};

}  // namespace thorax
