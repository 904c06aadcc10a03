// The reductions that tests and benchmarks run.
#pragma once

#include <vector>

#include "kernels/reduce/reduce.h"

namespace thorax::reduce_cases {

inline std::vector<ReduceProblem> all() {
  const auto over = [](const Shape& shape, std::initializer_list<int> axes) {
    ReduceProblem p{.shape = shape};
    for (const int axis : axes) p.axes[static_cast<std::size_t>(axis)] = true;
    p.scale = 1 / static_cast<double>(std::max<std::int64_t>(1, p.count()));
    return p;
  };
  return {
      over({1}, {0}),
      over({7}, {}),                     // nothing is summed
      over({2, 9, 7, 3}, {0, 1, 2, 3}),  // everything, odd
      over({3, 5, 6, 8}, {1, 2}),        // a mean for every channel of every image
      over({4, 33, 40}, {2}),            // rows longer than a warp
      over({2, 3, 4, 5, 6}, {0, 2, 4}),  // every other axis, rows
      over({2, 3, 4, 5, 6}, {1, 3}),     // every other axis, columns
      over({50, 37}, {0}),               // columns
      over({1, 200, 200, 3}, {1, 2}),    // in parts, few columns
      over({70001}, {0}),                // in parts, one sum
      over({0, 4}, {0}),                 // sums of nothing
      over({3, 0}, {0}),                 // no sums
  };
}

}  // namespace thorax::reduce_cases
