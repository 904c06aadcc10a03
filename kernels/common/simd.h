// Vectors of floats whose width is a template parameter, so that one kernel source serves AVX2 (8
// lanes) and AVX-512 (16 lanes). Built on GCC/Clang vector extensions: arithmetic is written with
// the ordinary operators, and a * b + c contracts to one fused multiply-add (-ffp-contract=fast).
//
// The inline namespace differs with the instruction set a file is compiled for: the linker must
// never take a function compiled for AVX-512 for one that runs on AVX2.
#pragma once

#include <cstdint>

#ifdef __AVX512F__
#define THORAX_SIMD_TARGET for_avx512
#else
#define THORAX_SIMD_TARGET for_avx2
#endif

namespace thorax::simd {
inline namespace THORAX_SIMD_TARGET {

template <int W>
struct Simd {
  static_assert(W == 8 || W == 16);
  typedef float type __attribute__((vector_size(W * 4)));
  // Same vector at any float address.
  typedef float unaligned __attribute__((vector_size(W * 4), aligned(4), may_alias));
  typedef std::int32_t mask_type __attribute__((vector_size(W * 4)));
};

template <int W>
using Vec = typename Simd<W>::type;

template <int W>
inline __attribute__((always_inline)) Vec<W> load(const float* p) {
  return *reinterpret_cast<const typename Simd<W>::unaligned*>(p);
}

template <int W>
inline __attribute__((always_inline)) void store(float* p, Vec<W> v) {
  *reinterpret_cast<typename Simd<W>::unaligned*>(p) = v;
}

// The first n lanes (0 <= n <= W) from memory, the rest zero; touches no other memory.
template <int W>
inline __attribute__((always_inline)) Vec<W> load_first(const float* p, int n) {
  if (n == W) return load<W>(p);
  Vec<W> v = {};
  for (int i = 0; i < n; ++i) v[i] = p[i];
  return v;
}

// Writes the first n lanes (0 <= n <= W) and nothing else.
template <int W>
inline __attribute__((always_inline)) void store_first(float* p, Vec<W> v, int n) {
  if (n == W) {
    store<W>(p, v);
  } else {
    alignas(W * 4) float lanes[W];
    store<W>(lanes, v);
    for (int i = 0; i < n; ++i) p[i] = lanes[i];
  }
}

// max(0, v); a NaN stays one.
template <int W>
inline __attribute__((always_inline)) Vec<W> relu(Vec<W> v) {
  const Vec<W> zero = {};
  return zero > v ? zero : v;
}

// The gradient of a ReLU whose output is `gate`: 0 where gate <= 0, else v; a NaN lets pass.
template <int W>
inline __attribute__((always_inline)) Vec<W> relu_gradient(Vec<W> v, Vec<W> gate) {
  const Vec<W> zero = {};
  return gate <= zero ? zero : v;
}

}  // namespace THORAX_SIMD_TARGET
}  // namespace thorax::simd
