// The pairs of shapes that tests and benchmarks of elementwise arithmetic run.
#pragma once

#include <utility>
#include <vector>

#include "engine/tensor/shape.h"

namespace thorax::binary_cases {

inline std::vector<std::pair<Shape, Shape>> all() {
  return {
      {{1}, {1}},
      {{}, {7}},                           // a number and a vector
      {{2, 9, 7, 3}, {2, 9, 7, 3}},        // equal, odd
      {{1, 64, 64, 32}, {32}},             // a bias
      {{3, 5, 6, 8}, {3, 1, 1, 8}},        // a factor for every channel of every image
      {{4, 1}, {1, 300}},                  // an outer product
      {{2, 1, 7, 1}, {5, 1, 6}},           // both repeated
      {{3, 17, 1, 1}, {1}},                // one channel
      {{2, 3, 4, 5, 6}, {2, 1, 4, 1, 6}},  // five axes, none merges
      {{0, 4, 2}, {4, 2}},                 // empty
  };
}

}  // namespace thorax::binary_cases
