// The shapes that tests and benchmarks of softmax run.
#pragma once

#include <vector>

#include "engine/tensor/shape.h"

namespace thorax::softmax_cases {

inline std::vector<Shape> all() {
  return {
      {1},             // one class
      {7},             // less than a vector
      {8, 1000},       // ImageNet
      {5, 33},         // a class more than a warp has lanes
      {1, 64, 64, 4},  // organs of a mask
      {2, 9, 7, 3},    // odd
      {3, 1},          // rows of one
      {0, 5},          // no rows
      {4, 0},          // no classes
  };
}

}  // namespace thorax::softmax_cases
