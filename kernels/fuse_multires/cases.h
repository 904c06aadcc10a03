// The problems that tests and benchmarks run.
#pragma once

#include <initializer_list>
#include <vector>

#include "kernels/fuse_multires/fuse_multires.h"

namespace thorax {

inline FuseProblem fuse_case(const Shape& y, std::initializer_list<std::int64_t> factors,
                             bool relu = true) {
  FuseProblem p;
  p.batch = y[0];
  p.height = y[1];
  p.width = y[2];
  p.channels = y[3];
  p.relu = relu;
  for (const std::int64_t factor : factors)
    p.factors[static_cast<std::size_t>(p.branches++)] = factor;
  return p;
}

// Every exchange of HRNet-W18's stages 2 to 4 at a given size of the finest branch: output i adds
// the finer branches, which come at its own size from strided convolutions, itself, and the coarser
// ones.
inline std::vector<FuseProblem> hrnet_fuse_cases(std::int64_t batch, std::int64_t size) {
  return {fuse_case({batch, size, size, 18}, {1, 2}),
          fuse_case({batch, size / 2, size / 2, 36}, {1, 1}),
          fuse_case({batch, size, size, 18}, {1, 2, 4}),
          fuse_case({batch, size / 2, size / 2, 36}, {1, 1, 2}),
          fuse_case({batch, size / 4, size / 4, 72}, {1, 1, 1}),
          fuse_case({batch, size, size, 18}, {1, 2, 4, 8}),
          fuse_case({batch, size / 2, size / 2, 36}, {1, 1, 2, 4}),
          fuse_case({batch, size / 4, size / 4, 72}, {1, 1, 1, 2}),
          fuse_case({batch, size / 8, size / 8, 144}, {1, 1, 1, 1})};
}

inline std::vector<FuseProblem> fuse_cases() {
  std::vector<FuseProblem> cases = hrnet_fuse_cases(2, 16);
  // One channel, oblong, the finest branch not first, factors that do not divide one another, an
  // empty batch, one pixel, many blocks.
  for (const bool relu : {false, true}) {
    cases.push_back(fuse_case({1, 8, 8, 1}, {1, 8}, relu));
    cases.push_back(fuse_case({3, 6, 10, 7}, {2, 1}, relu));
    cases.push_back(fuse_case({2, 12, 6, 18}, {3, 2, 1, 6}, relu));
    cases.push_back(fuse_case({0, 8, 8, 18}, {1, 2}, relu));
    cases.push_back(fuse_case({1, 1, 1, 18}, {1, 1}, relu));
    cases.push_back(fuse_case({2, 96, 80, 5}, {1, 2, 4}, relu));
  }
  return cases;
}

}  // namespace thorax
