// The products that tests and benchmarks run.
#pragma once

#include <utility>
#include <vector>

#include "engine/tensor/shape.h"

namespace thorax::matmul_cases {

inline std::vector<std::pair<Shape, Shape>> all() {
  return {
      {{1, 1}, {1, 1}},
      {{7, 13}, {13, 5}},             // odd
      {{64, 48}, {48, 80}},           // whole tiles
      {{2, 3, 9, 8}, {2, 3, 8, 11}},  // six products
      {{4, 17, 6}, {6, 10}},          // one matrix for all
      {{1, 300}, {300, 1}},           // an inner product
      {{30, 1}, {1, 40}},             // an outer product
      {{0, 4}, {4, 3}},               // no rows
      {{3, 0}, {0, 4}},               // nothing to sum
  };
}

}  // namespace thorax::matmul_cases
