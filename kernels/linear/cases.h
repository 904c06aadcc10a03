// The layers that tests and benchmarks run: the models' heads, and shapes that break kernels.
#pragma once

#include <string>
#include <vector>

#include "kernels/linear/linear.h"

namespace thorax::linear_cases {

struct Case {
  std::string name;
  LinearProblem problem;
};

inline std::vector<Case> all() {
  const auto problem = [](std::int64_t rows, std::int64_t in, std::int64_t out, bool bias,
                          bool relu) {
    LinearProblem p;
    p.rows = rows;
    p.in_features = in;
    p.out_features = out;
    p.bias = bias;
    p.relu = relu;
    return p;
  };
  return {
      {"imagenet head", problem(8, 2048, 1000, true, false)},
      {"imagenet head, one image", problem(1, 2048, 1000, true, false)},
      {"study head 1", problem(8, 2048, 512, true, true)},
      {"study head 2", problem(8, 512, 128, true, true)},
      {"study head 3", problem(8, 128, 1, true, false)},
      {"densenet head", problem(3, 1024, 1000, true, false)},
      {"one of everything", problem(1, 1, 1, true, true)},
      {"odd", problem(7, 13, 5, true, true)},
      {"more than a tile", problem(6, 17, 11, false, false)},
      {"more than a block of columns", problem(5, 523, 9, true, false)},
      {"many rows", problem(131, 18, 19, true, true)},
      {"no rows", problem(0, 4, 3, true, true)},
      {"no outputs", problem(3, 4, 0, false, false)},
      {"no inputs", problem(3, 0, 4, true, false)},
  };
}

}  // namespace thorax::linear_cases
