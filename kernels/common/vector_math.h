// Elementary functions on 8 floats at a time. Every lane depends on its own input alone and every
// tail goes through the same code, so results do not depend on where a vector starts.
#pragma once

#if defined(__AVX__)
#include <immintrin.h>
#endif

#include <cmath>
#include <cstdint>

#include "kernels/common/simd.h"

namespace thorax::simd {

using Floats = Vec<8>;
using Ints = Simd<8>::mask_type;

inline Floats splat(float value) {
  return value - Floats{};
}

// The first n lanes of v, 0 in the others.
inline Floats keep_first(Floats v, std::int64_t n) {
  const Ints lane = {0, 1, 2, 3, 4, 5, 6, 7};
  return lane < static_cast<std::int32_t>(n) ? v : Floats{};
}

// Sum of the lanes, always in the same order.
inline float sum_lanes(Floats v) {
  const Floats four = v + __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3);
  return (four[0] + four[2]) + (four[1] + four[3]);
}

inline Floats max(Floats a, Floats b) {
  return a > b ? a : b;
}

inline Floats abs(Floats v) {
  return (Floats)((Ints)v & 0x7fffffff);
}

inline Floats sqrt(Floats v) {
#if defined(__AVX__)
  return (Floats)_mm256_sqrt_ps((__m256)v);
#else
  Floats root;
  for (int i = 0; i < 8; ++i) root[i] = std::sqrt(v[i]);
  return root;
#endif
}

// e^x to about 1 unit in the last place, subnormal results included; 0 below -104, infinity above
// 88.8. NaN stays NaN. Reduction x = n ln 2 + r with |r| <= ln(2) / 2, then a polynomial (Cephes,
// expf).
inline Floats exp(Floats x) {
  x = x < -104.0f ? splat(-104.0f) : x;
  x = x > 89.0f ? splat(89.0f) : x;
  // Adding 1.5 * 2^23 rounds to the nearest whole number and leaves it in the low bits.
  const Floats shifted = x * 1.44269504f + 12582912.0f;
  const Floats n = shifted - 12582912.0f;
  Floats r = x - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  Floats p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  const Floats value = p * (r * r) + r + 1.0f;
  // Two factors: 2^n itself may lie outside the normal numbers where the result does not.
  const Ints whole = (Ints)shifted - 0x4b400000, half = whole >> 1;
  return value * (Floats)((half + 127) << 23) * (Floats)((whole - half + 127) << 23);
}

// log(1 + t) for 0 <= t <= 1: twice the area hyperbolic tangent of s = t / (2 + t) <= 1/3, whose
// series needs 8 terms there.
inline Floats log1p_unit(Floats t) {
  const Floats s = t / (t + 2.0f);
  const Floats q = s * s;
  Floats p = q * (1.0f / 15) + 1.0f / 13;
  p = p * q + 1.0f / 11;
  p = p * q + 1.0f / 9;
  p = p * q + 1.0f / 7;
  p = p * q + 1.0f / 5;
  p = p * q + 1.0f / 3;
  return 2.0f * (s + s * q * p);
}

// sigmoid(x) and 1 - sigmoid(x), both with small relative error.
struct Sigmoid {
  Floats value, rest;
};
inline Sigmoid sigmoid(Floats x) {
  const Floats e = exp(-abs(x));
  const Floats large = 1.0f / (e + 1.0f), small = e * large;
  // A NaN is in both, whichever is chosen.
  return {x >= 0.0f ? large : small, x >= 0.0f ? small : large};
}

}  // namespace thorax::simd
