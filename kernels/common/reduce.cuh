// Sums and other reductions of a warp or a block, in an order fixed by the thread numbers, so that
// results are the same bits in every run. Every thread of the warp or block must take part.
#pragma once

#include "engine/runtime/launch.cuh"

namespace thorax {
namespace THORAX_GPU {

struct Sum {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Max {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a < b ? b : a;
  }
};

// The result is in all 32 lanes. T of 4 or 8 bytes; `op` associative and commutative, up to
// rounding: lanes are paired 16, 8, 4, 2 and 1 apart.
template <class T, class Op>
__device__ inline T warp_reduce(T value, Op op) {
#pragma unroll
  for (int apart = 16; apart > 0; apart /= 2)
    value = op(value, __shfl_xor_sync(0xffffffffu, value, apart));
  return value;
}

// The result is in all threads of a block of kThreads (a multiple of 32, one-dimensional). `shared`
// may be used again after the block's next barrier.
template <int kThreads, class T, class Op>
__device__ inline T block_reduce(T value, Op op, T (&shared)[kThreads / 32]) {
  static_assert(kThreads % 32 == 0);
  value = warp_reduce(value, op);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
  __syncthreads();
  value = shared[0];
#pragma unroll
  for (int warp = 1; warp < kThreads / 32; ++warp) value = op(value, shared[warp]);
  return value;
}

// Sums over the rows (threadIdx.y) of a block of any height, per column: a tree in shared memory.
// `column` points to the block's row 0 of the caller's column, rows are `stride` apart, and row
// `threadIdx.y` holds the caller's value. Afterwards row 0 holds the sum, for the threads of row 0
// (the others see it after a barrier).
template <int N, class T>
__device__ inline void sum_rows(T* column, int stride) {
  for (unsigned rows = blockDim.y; rows > 1;) {
    const unsigned half = (rows + 1) / 2;
    __syncthreads();
    if (threadIdx.y < rows / 2) {
      T* to = column + threadIdx.y * stride;
      const T* from = to + half * stride;
#pragma unroll
      for (int i = 0; i < N; ++i) to[i] += from[i];
    }
    rows = half;
  }
}

}  // namespace THORAX_GPU
}  // namespace thorax
