// What the arithmetic instructions compute, for one lane; "Integer Arithmetic Instructions" to
// "Data Movement and Conversion Instructions". Integers wrap. Floating point is IEEE 754 rounded to
// nearest, subnormal numbers kept, where the instruction says nothing else; the payload of a NaN
// is not defined. Included by steps.h alone.
#pragma once

#include <cmath>
#include <limits>

#include "engine/runtime/ptx/lanes.h"
#include "engine/runtime/ptx/rounding.h"

namespace thorax::ptx {
namespace {

#define THORAX_PTX_OP1(Name, expression) \
  struct Name {                          \
    template <class T>                   \
    static auto of(T a) {                \
      return static_cast<T>(expression); \
    }                                    \
  }
#define THORAX_PTX_OP2(Name, expression) \
  struct Name {                          \
    template <class T>                   \
    static auto of(T a, T b) {           \
      return static_cast<T>(expression); \
    }                                    \
  }
template <class T>
using Unsigned = std::make_unsigned_t<T>;
template <class T, class F>
inline T wrapping(T a, T b, const F& f) {
  if constexpr (std::is_integral_v<T>) {
    // At least 32 bits: the product of two std::uint16_t would be an int.
    using U = std::common_type_t<Unsigned<T>, std::uint32_t>;
    return static_cast<T>(f(static_cast<U>(a), static_cast<U>(b)));
  } else {
    return f(a, b);
  }
}
THORAX_PTX_OP2(Add, wrapping(a, b, [](auto x, auto y) { return x + y; }));
THORAX_PTX_OP2(Sub, wrapping(a, b, [](auto x, auto y) { return x - y; }));
THORAX_PTX_OP2(Mul, wrapping(a, b, [](auto x, auto y) { return x * y; }));
THORAX_PTX_OP2(And, a& b);
THORAX_PTX_OP2(Or, a | b);
THORAX_PTX_OP2(Xor, a ^ b);
THORAX_PTX_OP1(Not, ~a);
struct Negate {
  template <class T>
  static T of(T a) {
    if constexpr (std::is_integral_v<T>) {
      return static_cast<T>(Unsigned<T>{0} - static_cast<Unsigned<T>>(a));
    } else {
      return -a;
    }
  }
};
struct Absolute {
  template <class T>
  static T of(T a) {
    if constexpr (std::is_integral_v<T>) {
      return a < 0 ? Negate::of(a) : a;
    } else {
      return std::fabs(a);
    }
  }
};
struct MulAdd {
  template <class T>
  static T of(T a, T b, T c) {
    return Add::of(Mul::of(a, b), c);
  }
};
struct MulHigh {
  static std::int32_t of(std::int32_t a, std::int32_t b) {
    return static_cast<std::int32_t>(std::int64_t{a} * b >> 32);
  }
  static std::uint32_t of(std::uint32_t a, std::uint32_t b) {
    return static_cast<std::uint32_t>(std::uint64_t{a} * b >> 32);
  }
  static std::uint64_t of(std::uint64_t a, std::uint64_t b) {
    __extension__ using Wide = unsigned __int128;
    return static_cast<std::uint64_t>(Wide{a} * b >> 64);
  }
  static std::int64_t of(std::int64_t a, std::int64_t b) {
    __extension__ using Wide = __int128;
    return static_cast<std::int64_t>(Wide{a} * b >> 64);
  }
};
struct MulWide {
  static std::int64_t of(std::int32_t a, std::int32_t b) { return std::int64_t{a} * b; }
  static std::uint64_t of(std::uint32_t a, std::uint32_t b) { return std::uint64_t{a} * b; }
  static std::uint32_t of(std::uint16_t a, std::uint16_t b) { return std::uint32_t{a} * b; }
  static std::int32_t of(std::int16_t a, std::int16_t b) { return std::int32_t{a} * b; }
};
// By zero: all ones, what GPUs give for the value that is not specified ("div"); MIN / -1 wraps.
// Quotients of 32 bits are exact in binary64: a quotient that is no whole number is at least
// 2^-32 of it away from one.
struct Divide {
  static std::uint32_t of(std::uint32_t a, std::uint32_t b) {
    const double q = b == 0 ? 4294967295.0 : static_cast<double>(a) / static_cast<double>(b);
    return static_cast<std::uint32_t>(static_cast<std::int64_t>(q));
  }
  static std::int32_t of(std::int32_t a, std::int32_t b) {
    const double q = b == 0 ? -1.0 : static_cast<double>(a) / static_cast<double>(b);
    return q >= 2147483648.0 ? a : static_cast<std::int32_t>(q);
  }
  template <class T>
  static T of(T a, T b) {
    if (b == 0) return static_cast<T>(~T{0});
    if constexpr (std::is_signed_v<T>)
      if (b == -1) return Negate::of(a);
    return a / b;
  }
};
struct Remainder {
  template <class T>
  static T of(T a, T b) {
    if (b == 0) return a;
    if constexpr (std::is_signed_v<T>)
      if (b == -1) return 0;
    return a % b;
  }
};
// "min", "max": a number wins over a NaN, +0 is more than -0.
template <bool kMax>
struct Extreme {
  template <class T>
  static T of(T a, T b) {
    if constexpr (std::is_integral_v<T>) {
      return (kMax ? a > b : a < b) ? a : b;
    } else {
      const T equal = std::signbit(a) == kMax ? b : a;
      const T chosen = a == b ? equal : (kMax ? a > b : a < b) ? a : b;
      return a != a ? b : b != b ? a : chosen;
    }
  }
};
using Min = Extreme<false>;
using Max = Extreme<true>;
// Shifts by the width and more give 0, or the sign ("shl", "shr").
struct ShiftLeft {
  template <class T>
  static T of(T a, std::uint32_t n) {
    return n < sizeof(T) * 8 ? static_cast<T>(a << (n & 63)) : T{0};
  }
};
struct ShiftRight {
  template <class T>
  static T of(T a, std::uint32_t n) {
    constexpr std::uint32_t kBits = sizeof(T) * 8;
    if constexpr (std::is_signed_v<T>) {
      return static_cast<T>(a >> (n < kBits ? n : kBits - 1));
    } else {
      return n < kBits ? static_cast<T>(a >> (n & 63)) : T{0};
    }
  }
};

#define THORAX_PTX_COMPARE(Name, expression) \
  struct Name {                              \
    template <class T>                       \
    static bool of(T a, T b) {               \
      return expression;                     \
    }                                        \
  }
THORAX_PTX_COMPARE(Equal, a == b);
THORAX_PTX_COMPARE(NotEqual, a<b || a> b);  // false for a NaN
THORAX_PTX_COMPARE(Less, a < b);
THORAX_PTX_COMPARE(LessEqual, a <= b);
THORAX_PTX_COMPARE(Greater, a > b);
THORAX_PTX_COMPARE(GreaterEqual, a >= b);
THORAX_PTX_COMPARE(EqualOrNan, !(a < b || a > b));
THORAX_PTX_COMPARE(NotEqualOrNan, a != b);
THORAX_PTX_COMPARE(LessOrNan, !(a >= b));
THORAX_PTX_COMPARE(LessEqualOrNan, !(a > b));
THORAX_PTX_COMPARE(GreaterOrNan, !(a <= b));
THORAX_PTX_COMPARE(GreaterEqualOrNan, !(a < b));
THORAX_PTX_COMPARE(Numbers, a == a && b == b);
THORAX_PTX_COMPARE(AnyNan, a != a || b != b);

struct Fma {
  static float of(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
  static double of(double a, double b, double c) { return __builtin_fma(a, b, c); }
};
THORAX_PTX_OP2(DivideReal, a / b);
THORAX_PTX_OP1(Reciprocal, T{1} / a);
struct SquareRoot {
  static float of(float a) { return __builtin_sqrtf(a); }
  static double of(double a) { return __builtin_sqrt(a); }
};
// .ftz: subnormal operands and results become zero of the same sign.
inline float flushed(float a) {
  return std::fabs(a) < std::numeric_limits<float>::min() ? std::copysign(0.0f, a) : a;
}
// "ex2": the largest relative error of the approximation is 2^-22; "lg2", "rcp", "rsqrt", "sqrt":
// 2^-22 to 2^-23. These are correct to an ulp of binary32.
struct Exp2 {
  static float of(float a) { return flushed(std::exp2(flushed(a))); }
};
struct Log2 {
  static float of(float a) { return std::log2(flushed(a)); }
};
struct ReciprocalFlushed {
  static float of(float a) { return flushed(1.0f / flushed(a)); }
};
struct InverseSquareRoot {
  static float of(float a) {
    return static_cast<float>(1.0 / std::sqrt(static_cast<double>(flushed(a))));
  }
};
struct SquareRootFlushed {
  static float of(float a) { return __builtin_sqrtf(flushed(a)); }
};
// "rcp.approx.ftz.f64": 20 bits of fraction, the lower half of the result is zero.
struct ReciprocalGross {
  static double of(double a) {
    constexpr double kSmallest = std::numeric_limits<double>::min();
    const auto flush = [](double v) {
      return std::fabs(v) < kSmallest ? std::copysign(0.0, v) : v;
    };
    const auto bits = bits_as<std::uint64_t>(flush(1.0 / flush(a)));
    return bits_as<double>(bits & 0xffffffff00000000u);
  }
};

// Conversions ("cvt").
struct Cast {
  template <class T>
  static T of(T a) {
    return a;
  }
};
struct Saturate {
  // A NaN becomes +0.
  static float of(float a) { return a > 0.0f ? (a < 1.0f ? a : 1.0f) : 0.0f; }
};
struct Floor {
  static float of(float a) { return __builtin_floorf(a); }
};
struct Nearest {
  static float of(float a) { return __builtin_rintf(a); }
  static double of(double a) { return __builtin_rint(a); }
};
struct Truncate {
  static float of(float a) { return __builtin_truncf(a); }
  static double of(double a) { return __builtin_trunc(a); }
};
struct Ceiling {
  static float of(float a) { return __builtin_ceilf(a); }
  static double of(double a) { return __builtin_ceil(a); }
};
// To an integer: out of range gives the nearest one that there is; a NaN 0, in conversions that
// have 64 bits on a side the largest bit alone.
template <class To, class Round>
struct ToInteger {
  template <class From>
  static To of(From a) {
    constexpr bool kWide = sizeof(From) == 8 || sizeof(To) == 8;
    constexpr To kNan = kWide ? static_cast<To>(Unsigned<To>{1} << (8 * sizeof(To) - 1)) : To{0};
    // Exact powers of two.
    constexpr From kLow = static_cast<From>(std::numeric_limits<To>::min());
    const From high = std::ldexp(From{1}, 8 * static_cast<int>(sizeof(To)) - std::is_signed_v<To>);
    const From whole = Round::of(a);
    if (whole != whole) return kNan;
    if (whole < kLow) return std::numeric_limits<To>::min();
    if (whole >= high) return std::numeric_limits<To>::max();
    return static_cast<To>(whole);
  }
};
struct HalfToFloat {
  static float of(std::uint16_t h) {
    const std::uint32_t magnitude = h & 0x7fffu, sign = (h & 0x8000u) << 16;
    const std::uint32_t small =
        bits_as<std::uint32_t>(static_cast<float>(static_cast<int>(magnitude)) * 0x1p-24f);
    const std::uint32_t quiet = magnitude > 0x7c00u ? 0x400000u : 0u;
    const std::uint32_t large = ((magnitude & 0x3ffu) << 13) | 0x7f800000u | quiet;
    const std::uint32_t normal = (magnitude << 13) + 0x38000000u;
    return bits_as<float>(sign | (magnitude >= 0x7c00u  ? large
                                  : magnitude >= 0x400u ? normal
                                                        : small));
  }
};
// To nearest, ties to even; a NaN becomes the one that cvt makes, 0x7fff.
struct FloatToHalf {
  static std::uint16_t of(float f) {
    const auto bits = bits_as<std::uint32_t>(f);
    const std::uint32_t x = bits & 0x7fffffffu, sign = bits >> 16 & 0x8000u;
    const std::uint32_t small = bits_as<std::uint32_t>(bits_as<float>(x) + 0.5f) - 0x3f000000u;
    const std::uint32_t normal = (x + 0xc8000fffu + (x >> 13 & 1u)) >> 13;
    const std::uint32_t finite = x < 0x38800000u ? small : normal;
    const std::uint32_t number = sign | (x >= 0x477ff000u ? 0x7c00u : finite);
    return static_cast<std::uint16_t>(x > 0x7f800000u ? 0x7fffu : number);
  }
};
// "cvt.rna.tf32": ten bits of fraction, ties away from zero.
struct FloatToTf32 {
  static std::uint32_t of(float f) {
    const auto bits = bits_as<std::uint32_t>(f);
    return (bits & 0x7f800000u) == 0x7f800000u ? bits : (bits + 0x1000u) & 0xffffe000u;
  }
};

// Bits.
struct CountLeadingZeros {
  static std::uint32_t of(std::uint32_t a) {
    return a == 0 ? 32u : static_cast<std::uint32_t>(__builtin_clz(a));
  }
};
struct CountOnes {
  static std::uint32_t of(std::uint32_t a) {
    return static_cast<std::uint32_t>(__builtin_popcount(a));
  }
};
struct PermuteBytes {
  static std::uint32_t of(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
    const std::uint64_t both = std::uint64_t{b} << 32 | a;
    std::uint32_t result = 0;
    for (int i = 0; i < 4; ++i) {
      const std::uint32_t which = c >> (4 * i) & 15u;
      std::uint32_t byte = static_cast<std::uint32_t>(both >> (8 * (which & 7u))) & 0xffu;
      if ((which & 8u) != 0) byte = (byte & 0x80u) != 0 ? 0xffu : 0u;
      result |= byte << (8 * i);
    }
    return result;
  }
};

}  // namespace
}  // namespace thorax::ptx
