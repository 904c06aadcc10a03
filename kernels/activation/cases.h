// The shapes that tests and benchmarks of elementwise operations run.
#pragma once

#include <vector>

#include "engine/tensor/shape.h"

namespace thorax::elementwise_cases {

inline std::vector<Shape> all() {
  return {
      {1},               // less than a vector
      {7},               //
      {8, 512},          // the study's head
      {1, 64, 64, 32},   // several chunks
      {2, 9, 7, 3},      // odd everything
      {1, 5, 5, 18},     // HRNet's thinnest branch
      {3, 17, 1, 1},     // one channel
      {1, 1, 300, 257},  // rows longer than a block
      {0, 4, 4, 2},      // empty batch
      {2, 3, 0, 5},      // empty image
  };
}

}  // namespace thorax::elementwise_cases
