// The logits that tests and benchmarks run.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/tensor/shape.h"

namespace thorax::cross_entropy_cases {

// Binary: any shape.
inline std::vector<Shape> binary() {
  return {{8, 1}, {1, 1}, {7}, {3, 5, 7, 2}, {1, 512, 512, 1}, {1, 1, 16385, 1}};
}

// Multi-class: rows x classes.
struct Rows {
  std::int64_t rows, classes;
};
inline std::vector<Rows> rows() {
  return {{8, 2}, {8, 1000}, {1, 1}, {1, 3}, {5, 9}, {300, 17}, {2, 257}};
}

}  // namespace thorax::cross_entropy_cases
