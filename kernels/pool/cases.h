// The problems that tests and benchmarks run.
#pragma once

#include <vector>

#include "kernels/pool/pool.h"

namespace thorax {

// A problem of both directions; the global average has its window filled in.
inline PoolProblem pool_case(PoolKind kind, const Shape& x, std::int64_t kernel,
                             std::int64_t stride, std::int64_t pad = 0, bool ceil_mode = false,
                             bool count_include_pad = true) {
  PoolProblem p;
  p.kind = kind;
  p.batch = x[0];
  p.height = x[1];
  p.width = x[2];
  p.channels = x[3];
  p.kernel_h = p.kernel_w = kernel;
  p.stride_h = p.stride_w = stride;
  p.pad_h = p.pad_w = pad;
  p.ceil_mode = ceil_mode;
  p.count_include_pad = count_include_pad;
  return p;
}
inline PoolProblem global_average_case(const Shape& x) {
  PoolProblem p = pool_case(PoolKind::avg, x, 1, 1);
  p.kernel_h = p.stride_h = x[1];
  p.kernel_w = p.stride_w = x[2];
  return p;
}

inline std::vector<PoolProblem> pool_cases() {
  std::vector<PoolProblem> cases;
  const std::vector<Shape> shapes{
      {2, 16, 16, 32}, {1, 8, 8, 64},  {1, 8, 8, 128}, {2, 4, 4, 256},  // UNet's levels
      {1, 9, 7, 1},    {2, 7, 11, 18}, {1, 4, 4, 3},   {0, 8, 8, 4},   {3, 4, 5, 13}};
  for (const PoolKind kind : {PoolKind::max, PoolKind::avg}) {
    for (const Shape& shape : shapes) {
      cases.push_back(pool_case(kind, shape, 2, 2));
      cases.push_back(pool_case(kind, shape, 2, 2, 0, true));
      cases.push_back(pool_case(kind, shape, 3, 2, 1));
      cases.push_back(pool_case(kind, shape, 3, 2, 1, true));
      cases.push_back(pool_case(kind, shape, 3, 1, 1, false, false));
      cases.push_back(pool_case(kind, shape, 2, 3));
      cases.push_back(pool_case(kind, shape, 4, 4, 2, true, false));
      cases.push_back(pool_case(kind, shape, 1, 1));
    }
    cases.push_back(pool_case(kind, {1, 1, 1, 18}, 1, 1));
    cases.push_back(pool_case(kind, {1, 2, 2, 18}, 2, 2));
    cases.push_back(pool_case(kind, {1, 20, 18, 5}, 16, 2));  // 256 taps: the most a byte holds
    PoolProblem oblong = pool_case(kind, {2, 12, 10, 6}, 2, 2);
    oblong.kernel_h = 3;
    oblong.stride_w = 1;
    oblong.pad_h = 1;
    cases.push_back(oblong);
  }
  for (const Shape& shape :
       {Shape{2, 7, 7, 2048}, {3, 1, 1, 18}, {2, 5, 9, 1}, {0, 4, 4, 8}, {1, 33, 65, 20}})
    cases.push_back(global_average_case(shape));
  return cases;
}

// UNet's first levels at 512 x 512, a ResNet stem, HRNet's head; for the benchmarks.
inline std::vector<PoolProblem> pool_bench_cases() {
  return {pool_case(PoolKind::max, {1, 512, 512, 32}, 2, 2),
          pool_case(PoolKind::max, {1, 256, 256, 64}, 2, 2),
          pool_case(PoolKind::max, {1, 128, 128, 128}, 2, 2),
          pool_case(PoolKind::max, {8, 112, 112, 64}, 3, 2, 1),
          pool_case(PoolKind::avg, {8, 56, 56, 64}, 2, 2),
          global_average_case({8, 7, 7, 2048})};
}

}  // namespace thorax
