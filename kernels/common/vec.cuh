// Vector loads and stores: N consecutive elements of float, Half or BFloat16 as one access, held as
// floats. 16 bytes a thread is the widest access of a GPU: 4 floats or 8 halves.
#pragma once

#include <cstdint>

#include "engine/runtime/launch.cuh"
#include "engine/tensor/half.h"

namespace thorax {
namespace THORAX_GPU {

// N elements as they lie in memory, aligned to their size.
template <class T, int N>
struct alignas(sizeof(T) * N) Vec {
  T values[N];
  __device__ T& operator[](int i) { return values[i]; }
  __device__ const T& operator[](int i) const { return values[i]; }
};

// N floats in registers.
template <int N>
struct Floats {
  float values[N];
  __device__ float& operator[](int i) { return values[i]; }
  __device__ const float& operator[](int i) const { return values[i]; }
};

template <int N, class T>
__device__ inline Vec<T, N> load_raw(const T* from) {
  return *reinterpret_cast<const Vec<T, N>*>(from);
}
template <int N, class T>
__device__ inline void store_raw(T* to, const Vec<T, N>& values) {
  *reinterpret_cast<Vec<T, N>*>(to) = values;
}

// `from` must be aligned to N elements.
template <int N, class T>
__device__ inline Floats<N> load(const T* from) {
  const Vec<T, N> raw = load_raw<N>(from);
  Floats<N> result;
#pragma unroll
  for (int i = 0; i < N; ++i) result[i] = to_float(raw[i]);
  return result;
}
// Rounds to nearest, ties to even; `to` must be aligned to N elements.
template <int N, class T>
__device__ inline void store(T* to, const Floats<N>& values) {
  Vec<T, N> raw;
#pragma unroll
  for (int i = 0; i < N; ++i) raw[i] = from_float<T>(values[i]);
  store_raw<N>(to, raw);
}

template <int N>
__device__ inline Floats<N> broadcast(float value) {
  Floats<N> result;
#pragma unroll
  for (int i = 0; i < N; ++i) result[i] = value;
  return result;
}

}  // namespace THORAX_GPU
}  // namespace thorax
