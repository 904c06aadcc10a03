// How a step works on 32 lanes. Included by steps.h alone, which is compiled for several kinds of
// processors: everything here has internal linkage, so that none calls the code of another.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "engine/runtime/ptx/warp.h"

namespace thorax::ptx {
namespace {

// r[lane] = f(lane) for the active lanes. The lanes of a destination may be those of a source.
template <bool kFull, class R, class F>
inline void write(Warp& w, std::uint32_t d, const F& f) {
  R* const to = w.lanes<R>(d);
  if constexpr (kFull) {
#pragma GCC ivdep
    for (int i = 0; i < kLanes; ++i) to[i] = static_cast<R>(f(i));
  } else {
    const std::uint32_t active = w.active;
#pragma GCC ivdep
    for (int i = 0; i < kLanes; ++i) {
      const R value = static_cast<R>(f(i));
      to[i] = (active >> i & 1) != 0 ? value : to[i];
    }
  }
}

// A bit per lane from f(lane), 0 or 1.
template <class F>
inline std::uint32_t bits_of(const F& f) {
  alignas(32) std::uint8_t flags[kLanes];
#pragma GCC ivdep
  for (int i = 0; i < kLanes; ++i) flags[i] = f(i) ? 1 : 0;
  std::uint32_t bits = 0;
  for (int part = 0; part < 4; ++part) {
    std::uint64_t eight;
    std::memcpy(&eight, flags + 8 * part, 8);
    bits |= static_cast<std::uint32_t>(eight * 0x0102040810204080u >> 56) << (8 * part);
  }
  return bits;
}

template <bool kFull>
inline void write_predicate(Warp& w, std::uint32_t d, std::uint32_t bits) {
  std::uint32_t& to = w.predicate(d);
  to = kFull ? bits : (to & ~w.active) | (bits & w.active);
}

// Where the lanes of a type lie: 16 bits in the lower half of 32.
template <class T>
using Lane = std::conditional_t<sizeof(T) == 2, std::uint32_t, T>;
template <class T>
inline T get(const Lane<T>* lanes, int i) {
  return static_cast<T>(lanes[i]);
}
// What is written for a T: the upper half of 32 bits is zero.
template <class T>
inline Lane<T> put(T value) {
  if constexpr (sizeof(T) == 2) {
    return static_cast<std::uint16_t>(value);
  } else {
    return value;
  }
}

template <class T, class Op, bool kFull>
const Step* unary(Warp& w, const Step& s) {
  const auto* a = w.lanes<Lane<T>>(s.a);
  write<kFull, Lane<T>>(w, s.d, [&](int i) { return put<T>(Op::of(get<T>(a, i))); });
  return &s + 1;
}
template <class T, class Op, bool kFull>
const Step* binary(Warp& w, const Step& s) {
  const auto* a = w.lanes<Lane<T>>(s.a);
  const auto* b = w.lanes<Lane<T>>(s.b);
  write<kFull, Lane<T>>(w, s.d, [&](int i) { return put<T>(Op::of(get<T>(a, i), get<T>(b, i))); });
  return &s + 1;
}
template <class T, class Op, bool kFull>
const Step* ternary(Warp& w, const Step& s) {
  const auto* a = w.lanes<Lane<T>>(s.a);
  const auto* b = w.lanes<Lane<T>>(s.b);
  const auto* c = w.lanes<Lane<T>>(s.c);
  write<kFull, Lane<T>>(
      w, s.d, [&](int i) { return put<T>(Op::of(get<T>(a, i), get<T>(b, i), get<T>(c, i))); });
  return &s + 1;
}
// From one type to another.
template <class To, class From, class Op, bool kFull>
const Step* convert(Warp& w, const Step& s) {
  const auto* a = w.lanes<Lane<From>>(s.a);
  write<kFull, Lane<To>>(w, s.d, [&](int i) { return put<To>(Op::of(get<From>(a, i))); });
  return &s + 1;
}
// The same for operands of one type and a result of another.
template <class To, class From, class Op, bool kFull>
const Step* widen(Warp& w, const Step& s) {
  const auto* a = w.lanes<Lane<From>>(s.a);
  const auto* b = w.lanes<Lane<From>>(s.b);
  write<kFull, Lane<To>>(w, s.d,
                         [&](int i) { return put<To>(Op::of(get<From>(a, i), get<From>(b, i))); });
  return &s + 1;
}
template <class T, class Op, bool kFull>
const Step* shift(Warp& w, const Step& s) {
  const auto* a = w.lanes<Lane<T>>(s.a);
  const auto* b = w.lanes<std::uint32_t>(s.b);
  write<kFull, Lane<T>>(w, s.d, [&](int i) { return put<T>(Op::of(get<T>(a, i), b[i])); });
  return &s + 1;
}
template <class T, class Op, bool kFull>
const Step* compare(Warp& w, const Step& s) {
  const auto* a = w.lanes<Lane<T>>(s.a);
  const auto* b = w.lanes<Lane<T>>(s.b);
  write_predicate<kFull>(w, s.d,
                         bits_of([&](int i) { return Op::of(get<T>(a, i), get<T>(b, i)); }));
  return &s + 1;
}
template <class T, bool kFull>
const Step* select(Warp& w, const Step& s) {
  const auto* a = w.lanes<Lane<T>>(s.a);
  const auto* b = w.lanes<Lane<T>>(s.b);
  const std::uint32_t which = w.predicate(s.c);
  write<kFull, Lane<T>>(w, s.d, [&](int i) { return (which >> i & 1) != 0 ? a[i] : b[i]; });
  return &s + 1;
}
template <class Op, bool kFull>
const Step* logic(Warp& w, const Step& s) {
  write_predicate<kFull>(w, s.d, Op::of(w.predicate(s.a), w.predicate(s.b)));
  return &s + 1;
}

template <class To, class From>
inline To bits_as(From value) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &value, sizeof(to));
  return to;
}

}  // namespace
}  // namespace thorax::ptx
