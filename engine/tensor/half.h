// 16-bit floating-point storage types. Arithmetic is done in float: convert, compute, convert back.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

#include "engine/tensor/dtype.h"

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#define THORAX_HOST_DEVICE __host__ __device__
#else
#if defined(__F16C__)
#include <immintrin.h>
#endif
#define THORAX_HOST_DEVICE
#endif

namespace thorax {

// IEEE binary16: 5 exponent bits, 10 of the fraction; largest 65504.
struct Half {
  std::uint16_t bits;
};
// float32 with the fraction cut to 7 bits.
struct BFloat16 {
  std::uint16_t bits;
};
template <>
struct DTypeOf<Half> {
  static constexpr DType value = DType::f16;
};
template <>
struct DTypeOf<BFloat16> {
  static constexpr DType value = DType::bf16;
};

THORAX_HOST_DEVICE inline float to_float(float value) {
  return value;
}
THORAX_HOST_DEVICE inline float to_float(Half value) {
#if defined(__CUDACC__)
  __half_raw raw;
  raw.x = value.bits;
  return __half2float(__half(raw));
#elif defined(__F16C__)
  return _cvtsh_ss(value.bits);
#else
  return static_cast<float>(std::bit_cast<__fp16>(value.bits));  // ARM's binary16
#endif
}
THORAX_HOST_DEVICE inline float to_float(BFloat16 value) {
#if defined(__CUDA_ARCH__)
  return __uint_as_float(static_cast<unsigned>(value.bits) << 16);
#else
  return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16);
#endif
}

// Nearest, ties to even; a NaN stays a NaN; too large becomes infinite.
template <class T>
THORAX_HOST_DEVICE T from_float(float value);
template <>
THORAX_HOST_DEVICE inline float from_float<float>(float value) {
  return value;
}
template <>
THORAX_HOST_DEVICE inline Half from_float<Half>(float value) {
#if defined(__CUDACC__)
  const __half_raw raw = __half_raw(__float2half_rn(value));
  return Half{raw.x};
#elif defined(__F16C__)
  return Half{static_cast<std::uint16_t>(_cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT))};
#else
  return Half{std::bit_cast<std::uint16_t>(static_cast<__fp16>(value))};
#endif
}
template <>
THORAX_HOST_DEVICE inline BFloat16 from_float<BFloat16>(float value) {
#if defined(__CUDA_ARCH__)
  const unsigned bits = __float_as_uint(value);
#else
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
#endif
  if ((bits & 0x7fffffffu) > 0x7f800000u)  // NaN: quiet, keep the sign
    return BFloat16{static_cast<std::uint16_t>((bits >> 16) | 0x40u)};
  return BFloat16{static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16)};
}

// Any element type from any other; through float where one of them is a 16-bit float.
template <class To, class From>
THORAX_HOST_DEVICE To convert(From value) {
  constexpr bool narrow_to = std::is_same_v<To, Half> || std::is_same_v<To, BFloat16>;
  constexpr bool narrow_from = std::is_same_v<From, Half> || std::is_same_v<From, BFloat16>;
  if constexpr (std::is_same_v<To, From>) {
    return value;
  } else if constexpr (narrow_to && narrow_from) {
    return from_float<To>(to_float(value));
  } else if constexpr (narrow_to) {
    return from_float<To>(static_cast<float>(value));
  } else if constexpr (narrow_from) {
    return static_cast<To>(to_float(value));
  } else {
    return static_cast<To>(value);
  }
}

}  // namespace thorax
