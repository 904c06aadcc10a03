// The masks that tests and benchmarks run: the study's, and shapes that break kernels.
#pragma once

#include <string>
#include <vector>

#include "engine/tensor/shape.h"

namespace thorax::dice_loss_cases {

struct Case {
  std::string name;
  Shape shape;
};

inline std::vector<Case> all() {
  return {
      {"study, batch 1", {1, 512, 512, 1}}, {"study, batch 8, 256", {8, 256, 256, 1}},
      {"two classes", {2, 33, 31, 2}},      {"a pixel", {1, 1, 1, 1}},
      {"less than a vector", {3, 1, 5, 1}}, {"a chunk and one pixel", {1, 1, 16385, 1}},
      {"many small images", {19, 3, 7, 1}},
  };
}

}  // namespace thorax::dice_loss_cases
