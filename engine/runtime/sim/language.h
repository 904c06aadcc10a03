// CUDA's language on the CPU: what a kernel's source refers to, with the meaning the simulator
// gives it. Included through engine/runtime/launch.cuh by g++ only.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "engine/runtime/sim/block.h"
#include "engine/runtime/sim/space.h"
#include "engine/tensor/half.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __restrict__ __restrict
#define __align__(n) alignas(n)
#define __constant__ static const

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3() = default;
  constexpr dim3(unsigned x_, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct uint3 {
  unsigned x, y, z;
};

// Vector types with CUDA's alignment, so that a misaligned access faults here as it does there (the
// sanitizer build checks it).
#define THORAX_SIM_VECTOR(T, name, n2, n4)            \
  struct alignas(2 * sizeof(T)) name##2 {             \
    T x, y;                                           \
  };                                                  \
  struct alignas(n4) name##4 {                        \
    T x, y, z, w;                                     \
  };                                                  \
  inline name##2 make_##name##2(T x, T y) {           \
    return {x, y};                                    \
  }                                                   \
  inline name##4 make_##name##4(T x, T y, T z, T w) { \
    return {x, y, z, w};                              \
  }
THORAX_SIM_VECTOR(float, float, 8, 16)
THORAX_SIM_VECTOR(int, int, 8, 16)
THORAX_SIM_VECTOR(unsigned, uint, 8, 16)
THORAX_SIM_VECTOR(unsigned char, uchar, 2, 4)
THORAX_SIM_VECTOR(unsigned short, ushort, 4, 8)
#undef THORAX_SIM_VECTOR
struct alignas(16) double2 {
  double x, y;
};
inline double2 make_double2(double x, double y) {
  return {x, y};
}

#define threadIdx (::thorax::sim::current_thread().index)
#define blockIdx (::thorax::sim::current_thread().block->block_index)
#define blockDim (::thorax::sim::current_thread().block->block_size)
#define gridDim (::thorax::sim::current_thread().block->grid_size)
#define warpSize 32

inline void __syncthreads() {
  ::thorax::sim::block_barrier(::thorax::sim::BarrierKind::plain, 0);
}
inline int __syncthreads_count(int p) {
  return ::thorax::sim::block_barrier(::thorax::sim::BarrierKind::count, p);
}
inline int __syncthreads_and(int p) {
  return ::thorax::sim::block_barrier(::thorax::sim::BarrierKind::all, p);
}
inline int __syncthreads_or(int p) {
  return ::thorax::sim::block_barrier(::thorax::sim::BarrierKind::any, p);
}
inline void __syncwarp(unsigned mask = 0xffffffffu) {
  ::thorax::sim::warp_barrier(mask);
}
inline void __threadfence() {
  ::thorax::sim::fence();
}
inline void __threadfence_block() {}

namespace thorax::sim {
// One warp-wide exchange of a value of 4 or 8 bytes; source(lane) says whose value a lane takes.
template <class T, class Source>
T exchange(unsigned mask, T value, const Source& source) {
  static_assert(sizeof(T) <= 8);
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  const WarpExchange& all = warp_exchange(mask, bits);
  const int from = source(current_thread().lane);
  // Reading a lane that does not take part is undefined; NaN bytes make it visible.
  std::uint64_t taken = (mask >> from & 1u) != 0 ? all.values[from] : ~std::uint64_t{0};
  T result;
  std::memcpy(&result, &taken, sizeof(T));
  warp_exchange_done(mask);
  return result;
}
}  // namespace thorax::sim

template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32) {
  return ::thorax::sim::exchange(
      mask, value, [&](int self) { return (self & ~(width - 1)) + (lane & (width - 1)); });
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32) {
  return ::thorax::sim::exchange(mask, value, [&](int self) {
    const int from = self ^ lanes;
    return from / width > self / width ? self : from;
  });
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  return ::thorax::sim::exchange(mask, value, [&](int self) {
    const int from = self + static_cast<int>(delta);
    return from / width == self / width ? from : self;
  });
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  return ::thorax::sim::exchange(mask, value, [&](int self) {
    const int from = self - static_cast<int>(delta);
    return from >= 0 && from / width == self / width ? from : self;
  });
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  const auto& all = ::thorax::sim::warp_exchange(mask, predicate != 0 ? 1 : 0);
  unsigned result = 0;
  for (unsigned lane = 0; lane < 32; ++lane)
    if ((mask >> lane & 1u) != 0 && all.values[lane] != 0) result |= 1u << lane;
  ::thorax::sim::warp_exchange_done(mask);
  return result;
}
inline int __any_sync(unsigned mask, int predicate) {
  return __ballot_sync(mask, predicate) != 0;
}
inline int __all_sync(unsigned mask, int predicate) {
  return __ballot_sync(mask, predicate) == mask;
}
inline unsigned __activemask() {
  return ::thorax::sim::active_mask();
}

// Integer atomics only: sums of floats would depend on the order. In global and shared memory.
#define THORAX_SIM_ATOMIC(T)                                                                      \
  inline T atomicAdd(T* p, T v) {                                                                 \
    ::thorax::sim::refuse_local(p, "atomicAdd of");                                               \
    return __atomic_fetch_add(p, v, __ATOMIC_RELAXED);                                            \
  }                                                                                               \
  inline T atomicOr(T* p, T v) {                                                                  \
    ::thorax::sim::refuse_local(p, "atomicOr of");                                                \
    return __atomic_fetch_or(p, v, __ATOMIC_RELAXED);                                             \
  }                                                                                               \
  inline T atomicAnd(T* p, T v) {                                                                 \
    ::thorax::sim::refuse_local(p, "atomicAnd of");                                               \
    return __atomic_fetch_and(p, v, __ATOMIC_RELAXED);                                            \
  }                                                                                               \
  inline T atomicExch(T* p, T v) {                                                                \
    ::thorax::sim::refuse_local(p, "atomicExch of");                                              \
    return __atomic_exchange_n(p, v, __ATOMIC_RELAXED);                                           \
  }                                                                                               \
  inline T atomicCAS(T* p, T expected, T v) {                                                     \
    ::thorax::sim::refuse_local(p, "atomicCAS of");                                               \
    __atomic_compare_exchange_n(p, &expected, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);      \
    return expected;                                                                              \
  }                                                                                               \
  inline T atomicMin(T* p, T v) {                                                                 \
    ::thorax::sim::refuse_local(p, "atomicMin of");                                               \
    T old = __atomic_load_n(p, __ATOMIC_RELAXED);                                                 \
    while (v < old &&                                                                             \
           !__atomic_compare_exchange_n(p, &old, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) { \
    }                                                                                             \
    return old;                                                                                   \
  }                                                                                               \
  inline T atomicMax(T* p, T v) {                                                                 \
    ::thorax::sim::refuse_local(p, "atomicMax of");                                               \
    T old = __atomic_load_n(p, __ATOMIC_RELAXED);                                                 \
    while (v > old &&                                                                             \
           !__atomic_compare_exchange_n(p, &old, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) { \
    }                                                                                             \
    return old;                                                                                   \
  }
THORAX_SIM_ATOMIC(int)
THORAX_SIM_ATOMIC(unsigned)
THORAX_SIM_ATOMIC(unsigned long long)
#undef THORAX_SIM_ATOMIC

// Intrinsics of the device library that kernels use. These loads are ld.global whatever the
// address.
template <class T>
inline T __ldg(const T* p) {
  ::thorax::sim::require_global(p, "__ldg of");
  return *p;
}
// Past the first-level cache, where atomics of other blocks are seen.
template <class T>
inline T __ldcg(const T* p) {
  ::thorax::sim::require_global(p, "__ldcg of");
  T value;
  __atomic_load(const_cast<T*>(p), &value, __ATOMIC_RELAXED);
  return value;
}
inline int __popc(unsigned v) {
  return __builtin_popcount(v);
}
inline int __clz(int v) {
  return v == 0 ? 32 : __builtin_clz(static_cast<unsigned>(v));
}
inline int __ffs(int v) {
  return __builtin_ffs(v);
}
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(std::uint64_t{a} * b >> 32);
}
inline int __float_as_int(float v) {
  int r;
  std::memcpy(&r, &v, 4);
  return r;
}
inline unsigned __float_as_uint(float v) {
  unsigned r;
  std::memcpy(&r, &v, 4);
  return r;
}
inline float __int_as_float(int v) {
  float r;
  std::memcpy(&r, &v, 4);
  return r;
}
inline float __uint_as_float(unsigned v) {
  float r;
  std::memcpy(&r, &v, 4);
  return r;
}
inline float rsqrtf(float v) {
  return 1.0f / std::sqrt(v);
}
inline double rsqrt(double v) {
  return 1.0 / std::sqrt(v);
}
inline float __fdividef(float a, float b) {
  return a / b;
}
inline float __expf(float v) {
  return std::exp(v);
}
inline float __logf(float v) {
  return std::log(v);
}
inline float __fmaf_rn(float a, float b, float c) {
  return std::fma(a, b, c);
}
template <class T>
constexpr T min(T a, T b) {
  return b < a ? b : a;
}
template <class T>
constexpr T max(T a, T b) {
  return a < b ? b : a;
}
