// The problems that tests and benchmarks run.
#pragma once

#include <vector>

#include "kernels/batch_norm/batch_norm.h"

namespace thorax {

// Every channel count of HRNet-W18, W32 and W48 (stem, bottlenecks, branches, head) on small maps.
inline std::vector<Shape> batch_norm_model_shapes() {
  std::vector<Shape> shapes{{2, 16, 16, 64}, {2, 8, 8, 256}, {2, 3, 3, 2048}};
  for (const std::int64_t width : {18, 32, 48})
    for (const std::int64_t factor : {1, 2, 4, 8})
      shapes.push_back({2, 16 / factor, 16 / factor, width * factor});
  for (const std::int64_t head : {32, 128, 512, 1024}) shapes.push_back({2, 4, 4, head});
  return shapes;
}

// One channel, odd sizes, one image, one pixel an image, nothing at all, a row and a pixel more
// than a row of the vector code, many chunks, rank 2.
inline std::vector<Shape> batch_norm_awkward_shapes() {
  return {{1, 2, 1, 1},    {3, 5, 7, 1},   {1, 17, 13, 18}, {1, 9, 11, 3},  {5, 1, 1, 18},
          {2, 1, 1, 144},  {0, 8, 8, 18},  {2, 0, 8, 18},   {1, 1, 4, 18},  {1, 1, 5, 18},
          {7, 8},          {16, 20},       {1, 1, 9, 7},    {2, 63, 31, 5}, {1, 130, 129, 2},
          {2, 61, 67, 18}, {3, 37, 41, 36}};
}

// Training and evaluation, with and without ReLU and residual, of every shape.
inline std::vector<BatchNormProblem> batch_norm_cases() {
  std::vector<Shape> shapes = batch_norm_model_shapes();
  for (const Shape& shape : batch_norm_awkward_shapes()) shapes.push_back(shape);
  std::vector<BatchNormProblem> cases;
  for (const Shape& shape : shapes)
    for (const bool training : {true, false})
      for (const bool relu : {false, true})
        for (const bool residual : {false, true})
          cases.push_back(
              {.shape = shape, .training = training, .relu = relu, .residual = residual});
  return cases;
}

// What an HRNet-W18 training step at 224 x 224, batch 8, normalises; for the benchmarks.
inline std::vector<Shape> batch_norm_bench_shapes() {
  return {{8, 112, 112, 64}, {8, 56, 56, 64}, {8, 56, 56, 256}, {8, 56, 56, 18},
          {8, 28, 28, 36},   {8, 14, 14, 72}, {8, 7, 7, 144},   {8, 7, 7, 2048}};
}

}  // namespace thorax
