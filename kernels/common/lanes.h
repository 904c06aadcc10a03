// Loops over consecutive floats, eight at a time. The body is written once, generic in the lane
// type, and runs with Float8 for whole vectors and float for what is left, doing the same
// arithmetic (fused multiply-adds included) in both, so that an element's value never depends on
// its position.
#pragma once

#if defined(__FMA__)
#include <immintrin.h>
#endif

#include <cmath>
#include <cstdint>
#include <cstring>

namespace thorax::lanes {

using Float8 = float __attribute__((vector_size(32)));

template <class V>
inline V load(const float* from) {
  V value;
  std::memcpy(&value, from, sizeof(V));
  return value;
}
template <class V>
inline void store(float* to, V value) {
  std::memcpy(to, &value, sizeof(V));
}

// a * b + c, rounded once.
inline float fused(float a, float b, float c) {
  return std::fma(a, b, c);
}
inline Float8 fused(Float8 a, Float8 b, Float8 c) {
#if defined(__FMA__)
  return _mm256_fmadd_ps(a, b, c);
#else
  Float8 sum;  // on ARM two vector instructions
  for (int i = 0; i < 8; ++i) sum[i] = std::fma(a[i], b[i], c[i]);
  return sum;
#endif
}

// max(0, v); a NaN stays one.
template <class V>
inline V relu(V v) {
  return V{} > v ? V{} : v;
}
// The gradient of a ReLU whose output is `gate`: 0 where gate <= 0, else v; a NaN lets pass.
template <class V>
inline V relu_gradient(V gate, V v) {
  return gate <= V{} ? V{} : v;
}

// Calls body.operator()<V>(i) for i = 0, 8, 16, ... with V = Float8, then for the rest with float.
template <class Body>
inline void for_lanes(std::int64_t count, const Body& body) {
  std::int64_t i = 0;
  for (; i + 8 <= count; i += 8) body.template operator()<Float8>(i);
  for (; i < count; ++i) body.template operator()<float>(i);
}

// The same for bodies that may run twice on an element (they read nothing that they write): what is
// left after whole vectors is done by one more vector that overlaps the last, if there are 8.
template <class Body>
inline void for_lanes_overlapped(std::int64_t count, const Body& body) {
  if (count < 8) return for_lanes(count, body);
  std::int64_t i = 0;
  for (; i + 8 <= count; i += 8) body.template operator()<Float8>(i);
  if (i < count) body.template operator()<Float8>(count - 8);
}

}  // namespace thorax::lanes
