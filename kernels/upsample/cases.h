// The problems that tests and benchmarks run.
#pragma once

#include <vector>

#include "kernels/upsample/upsample.h"

namespace thorax {

inline UpsampleProblem nearest_case(const Shape& x, std::int64_t factor) {
  UpsampleProblem p;
  p.batch = x[0];
  p.height = x[1];
  p.width = x[2];
  p.channels = x[3];
  p.out_height = p.height * factor;
  p.out_width = p.width * factor;
  return p;
}
inline UpsampleProblem bilinear_case(const Shape& x, std::int64_t out_height,
                                     std::int64_t out_width, bool align_corners) {
  UpsampleProblem p = nearest_case(x, 1);
  p.mode = UpsampleMode::bilinear;
  p.out_height = out_height;
  p.out_width = out_width;
  p.align_corners = align_corners;
  return p;
}

inline std::vector<UpsampleProblem> upsample_cases() {
  std::vector<UpsampleProblem> cases;
  // HRNet's branches on small maps, one channel, odd sizes, one pixel, an empty batch.
  for (const Shape& x : {Shape{2, 8, 8, 18},
                         {2, 4, 4, 36},
                         {2, 2, 2, 72},
                         {1, 7, 7, 144},
                         {1, 5, 3, 1},
                         {3, 3, 4, 7},
                         {1, 1, 1, 18},
                         {0, 4, 4, 8}}) {
    for (const std::int64_t factor : {1, 2, 3, 8}) cases.push_back(nearest_case(x, factor));
    for (const bool align : {false, true}) {
      cases.push_back(bilinear_case(x, 2 * x[1], 2 * x[2], align));
      cases.push_back(bilinear_case(x, 13, 17, align));  // up by no whole factor
      cases.push_back(bilinear_case(x, 2, 3, align));    // down
      cases.push_back(bilinear_case(x, 1, 1, align));
      cases.push_back(bilinear_case(x, x[1], x[2], align));
    }
  }
  return cases;
}

}  // namespace thorax
