// Loads, stores, atomics and cp.async ("Data Movement and Conversion Instructions", "Parallel
// Synchronization and Communication Instructions"). Included by steps.h alone.
#pragma once

#include "engine/runtime/ptx/lanes.h"
#include "engine/runtime/ptx/opcodes.h"

namespace thorax::ptx {
namespace {

template <bool kFull>
inline int first_lane(const Warp& w) {
  return kFull ? 0 : __builtin_ctz(w.active);
}

// The usual case: all addresses in the block of memory of the access before. All others are
// resolve()'s, which says what is wrong. Lanes that are not active get the address of one that is.
template <Space kSpace, bool kFull>
inline void addresses(Warp& w, const Step& s, unsigned char* (&at)[kLanes]) {
  if constexpr (kSpace == Space::global) {
    const auto* a = w.lanes<std::uint64_t>(s.a);
    const std::uint64_t one = a[first_lane<kFull>(w)];
    const auto offset = static_cast<std::uint64_t>(s.value);
    const std::uint32_t active = w.active;
    alignas(64) std::uint64_t used[kLanes];
    for (int i = 0; i < kLanes; ++i)
      used[i] = (kFull || (active >> i & 1) != 0 ? a[i] : one) + offset;
    // Signed: faster compared, and addresses of the host are below 2^47.
    auto low = static_cast<std::int64_t>(used[0]), high = low;
    std::uint64_t bits = 0;
    for (int i = 0; i < kLanes; ++i) {
      const auto v = static_cast<std::int64_t>(used[i]);
      low = v < low ? v : low;
      high = v > high ? v : high;
      bits |= used[i];
    }
    if (low < static_cast<std::int64_t>(w.known[s.slot].begin) ||
        high + s.bytes > static_cast<std::int64_t>(w.known[s.slot].end) ||
        (bits & (s.bytes - 1u)) != 0)
      return resolve(w, s, kSpace, at);
    for (int i = 0; i < kLanes; ++i) at[i] = reinterpret_cast<unsigned char*>(used[i]);
  } else if constexpr (kSpace == Space::shared || kSpace == Space::param) {
    constexpr bool kShared = kSpace == Space::shared;
    const auto offset = static_cast<std::uint32_t>(s.value);
    const std::uint32_t active = w.active;
    alignas(64) std::uint32_t used[kLanes];
    std::uint32_t wrong = 0;
    if (s.address_32) {
      const auto* a = w.lanes<std::uint32_t>(s.a);
      const std::uint32_t one = a[first_lane<kFull>(w)];
      for (int i = 0; i < kLanes; ++i)
        used[i] = (kFull || (active >> i & 1) != 0 ? a[i] : one) + offset;
    } else {
      const auto* a = w.lanes<std::uint64_t>(s.a);
      const std::uint64_t one = a[first_lane<kFull>(w)];
      std::uint64_t upper = 0;
      for (int i = 0; i < kLanes; ++i) {
        const std::uint64_t v = (kFull || (active >> i & 1) != 0 ? a[i] : one);
        upper |= v + static_cast<std::uint64_t>(s.value);
        used[i] = static_cast<std::uint32_t>(v) + offset;
      }
      wrong = upper >> 32 != 0 ? 1 : 0;
    }
    std::uint32_t bits = 0, high = 0;
    for (int i = 0; i < kLanes; ++i) {
      bits |= used[i];
      high = used[i] > high ? used[i] : high;
    }
    if (wrong != 0 ||
        std::uint64_t{high} + s.bytes >
            (kShared ? w.block->shared_bytes : w.block->parameter_bytes) ||
        (bits & (s.bytes - 1u)) != 0)
      return resolve(w, s, kSpace, at);
    unsigned char* const base =
        kShared ? w.block->shared : const_cast<unsigned char*>(w.block->parameters);
    for (int i = 0; i < kLanes; ++i) at[i] = base + used[i];
  } else {
    resolve(w, s, kSpace, at);
  }
}

template <Space kSpace, bool kFull>
const Step* access(Warp& w, const Step& s) {
  alignas(64) unsigned char* at[kLanes];
  addresses<kSpace, kFull>(w, s, at);
  s.move[kFull ? 0 : 1](w, s, at);
  return &s + 1;
}

// Whether lane i's address is that of lane 0 and i * step bytes.
inline bool regular(unsigned char* const* at, std::size_t step) {
  std::uint64_t apart = 0;
  const auto first = reinterpret_cast<std::uint64_t>(at[0]);
  for (std::size_t i = 0; i < kLanes; ++i)
    apart |= (reinterpret_cast<std::uint64_t>(at[i]) - first) ^ (i * step);
  return apart == 0;
}

template <class T>
inline T read(const unsigned char* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

using Four = std::uint32_t __attribute__((vector_size(16)));
// The columns of four rows: lanes' vectors become elements' lanes.
inline void transpose(Four (&v)[4]) {
  const Four a = __builtin_shufflevector(v[0], v[1], 0, 4, 1, 5);
  const Four b = __builtin_shufflevector(v[0], v[1], 2, 6, 3, 7);
  const Four c = __builtin_shufflevector(v[2], v[3], 0, 4, 1, 5);
  const Four d = __builtin_shufflevector(v[2], v[3], 2, 6, 3, 7);
  v[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5);
  v[1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
  v[2] = __builtin_shufflevector(b, d, 0, 1, 4, 5);
  v[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
}

// kCount elements of type T in memory to registers of type R; a signed T brings its sign along.
template <class T, class R, int kCount, bool kFull>
void load(Warp& w, const Step& s, unsigned char* const* at) {
  using Wide = std::conditional_t<std::is_signed_v<T>, std::make_signed_t<R>, R>;
  if (regular(at, 0)) {
    for (int e = 0; e < kCount; ++e) {
      const auto value =
          static_cast<R>(static_cast<Wide>(read<T>(at[0] + e * static_cast<int>(sizeof(T)))));
      write<kFull, R>(w, s.more[e], [&](int) { return value; });
    }
    return;
  }
  if constexpr (kCount == 4 && sizeof(T) == 4 && sizeof(R) == 4) {
    if constexpr (kFull) {
      R* const to[4] = {w.lanes<R>(s.more[0]), w.lanes<R>(s.more[1]), w.lanes<R>(s.more[2]),
                        w.lanes<R>(s.more[3])};
      for (int i = 0; i < kLanes; i += 4) {
        Four v[4];
        for (int k = 0; k < 4; ++k) v[k] = read<Four>(at[i + k]);
        transpose(v);
        for (int e = 0; e < 4; ++e) std::memcpy(to[e] + i, &v[e], 16);
      }
      return;
    }
    alignas(64) std::uint32_t lanes[4][kLanes];
    for (int i = 0; i < kLanes; i += 4) {
      Four v[4];
      for (int k = 0; k < 4; ++k) v[k] = read<Four>(at[i + k]);
      transpose(v);
      for (int e = 0; e < 4; ++e) std::memcpy(&lanes[e][i], &v[e], 16);
    }
    for (int e = 0; e < 4; ++e) write<kFull, R>(w, s.more[e], [&](int i) { return lanes[e][i]; });
    return;
  }
  alignas(64) T lanes[kCount][kLanes];
  if (kCount == 1 && regular(at, sizeof(T))) {
    std::memcpy(lanes, at[0], sizeof(T) * kLanes);
  } else {
    for (int i = 0; i < kLanes; ++i)
      for (int e = 0; e < kCount; ++e)
        lanes[e][i] = read<T>(at[i] + e * static_cast<int>(sizeof(T)));
  }
  for (int e = 0; e < kCount; ++e)
    write<kFull, R>(w, s.more[e], [&](int i) { return static_cast<Wide>(lanes[e][i]); });
}

// Of lanes that write to one address the last one wins, always ("which one is undefined").
template <class T, class R, int kCount, bool kFull>
void store(Warp& w, const Step& s, unsigned char* const* at) {
  if constexpr (kCount == 4 && sizeof(T) == 4 && sizeof(R) == 4 && kFull) {
    for (int i = 0; i < kLanes; i += 4) {
      Four v[4];
      for (int e = 0; e < 4; ++e) std::memcpy(&v[e], w.lanes<R>(s.more[e]) + i, 16);
      transpose(v);
      for (int k = 0; k < 4; ++k) std::memcpy(at[i + k], &v[k], 16);
    }
    return;
  }
  if constexpr (kCount == 1 && sizeof(T) == sizeof(R) && kFull) {
    if (regular(at, sizeof(T))) {
      std::memcpy(at[0], w.lanes<R>(s.more[0]), sizeof(T) * kLanes);
      return;
    }
  }
  for (std::uint32_t left = w.active; left != 0; left &= left - 1) {
    const int i = __builtin_ctz(left);
    for (int e = 0; e < kCount; ++e) {
      const T value = static_cast<T>(w.lanes<R>(s.more[e])[i]);
      std::memcpy(at[i] + e * static_cast<int>(sizeof(T)), &value, sizeof(T));
    }
  }
}

enum class Atomic : std::uint8_t { add, min, max, bit_and, bit_or, bit_xor, exchange, cas };
// Lane after lane, in order; blocks on other cores come between.
template <class T, bool kFull>
void atomic(Warp& w, const Step& s, unsigned char* const* at) {
  const auto operation = static_cast<Atomic>(s.more[0]);
  const bool result = s.more[1] != 0;
  for (std::uint32_t left = w.active; left != 0; left &= left - 1) {
    const int i = __builtin_ctz(left);
    using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
    auto* const target = reinterpret_cast<Bits*>(at[i]);
    const T b = bits_as<T>(w.lanes<Bits>(s.b)[i]);
    Bits old = __atomic_load_n(target, __ATOMIC_RELAXED);
    for (;;) {
      const T before = bits_as<T>(old);
      T after = b;
      if (operation == Atomic::add) after = Add::of(before, b);
      if (operation == Atomic::min) after = Min::of(before, b);
      if (operation == Atomic::max) after = Max::of(before, b);
      if constexpr (std::is_integral_v<T>) {
        if (operation == Atomic::bit_and) after = before & b;
        if (operation == Atomic::bit_or) after = before | b;
        if (operation == Atomic::bit_xor) after = before ^ b;
        if (operation == Atomic::cas)
          after = before == b ? bits_as<T>(w.lanes<Bits>(s.c)[i]) : before;
      }
      if (__atomic_compare_exchange_n(target, &old, bits_as<Bits>(after), false, __ATOMIC_RELAXED,
                                      __ATOMIC_RELAXED))
        break;
    }
    if (result) w.lanes<Bits>(s.d)[i] = old;
  }
}

// cp.async.c[ag].shared.global [a], [b], value, c: `value` bytes of which c are read, the rest is
// zero. more: the bytes to add to b.
template <bool kFull>
const Step* copy_async(Warp& w, const Step& s) {
  unsigned char* to[kLanes];
  unsigned char* from[kLanes] = {};
  Step part = s;
  part.value = static_cast<std::int32_t>(s.more[1]);
  addresses<Space::shared, kFull>(w, part, to);
  // Only lanes that read need a source.
  const std::uint32_t active = w.active;
  std::uint32_t reading = 0;
  for (int i = 0; i < kLanes; ++i) {
    if ((active >> i & 1) == 0) continue;
    const std::uint32_t valid = w.lanes<std::uint32_t>(s.c)[i];
    if (valid > s.bytes) fault(w, s, i, "cp.async reads more bytes than it writes");
    if (valid > 0) reading |= 1u << i;
  }
  if (reading != 0) {
    part.a = s.b;
    part.value = static_cast<std::int32_t>(s.more[0]);
    part.address_32 = false;
    w.active = reading;
    addresses<Space::global, false>(w, part, from);
    w.active = active;
  }
  for (int i = 0; i < kLanes; ++i) {
    if ((active >> i & 1) == 0) continue;
    start_copy(w, s, i, to[i], from[i],
               (reading >> i & 1) != 0 ? w.lanes<std::uint32_t>(s.c)[i] : 0);
  }
  return &s + 1;
}

}  // namespace
}  // namespace thorax::ptx
