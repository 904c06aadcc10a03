// The logits that tests and benchmarks run: pixels of N x H x W, then classes.
#pragma once

#include <string>
#include <vector>

#include "engine/tensor/shape.h"

namespace thorax::segmentation_loss_cases {

struct Case {
  std::string name;
  Shape shape;
};

inline std::vector<Case> all() {
  return {
      {"lungs and heart, 512", {1, 512, 512, 3}}, {"one organ", {2, 33, 31, 1}},
      {"two channels", {2, 33, 31, 2}},           {"a pixel", {1, 1, 1, 3}},
      {"a chunk and one pixel", {1, 1, 4097, 3}}, {"a vector of classes", {1, 9, 7, 8}},
      {"more than a vector", {2, 5, 7, 17}},      {"as many as there may be", {1, 3, 5, 65}},
  };
}

}  // namespace thorax::segmentation_loss_cases
