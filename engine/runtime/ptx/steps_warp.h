// Steps of a whole warp: control flow, barriers, shuffles, votes, matrices. Included by steps.h
// alone.
#pragma once

#if defined(__F16C__) || defined(__FMA__)
#include <immintrin.h>
#endif

#include "engine/runtime/ptx/steps_memory.h"

namespace thorax::ptx {
namespace {

// "bra": lanes part where the predicate is not the same for all of them. `target` is where it goes,
// more[0] the number of steps from here to where the ways meet again; 0: only at the end.
template <bool kNegated, bool kFull>
const Step* branch(Warp& w, const Step& s) {
  const std::uint32_t bits = w.predicate(s.a);
  const std::uint32_t taken = (kNegated ? ~bits : bits) & w.active;
  if (taken == w.active) return s.target;
  if (taken == 0) return &s + 1;
  const Step* const join = s.more[0] == 0 ? nullptr : &s + static_cast<std::int32_t>(s.more[0]);
  w.splits[w.split_count++] = {join, s.target, taken, w.active};
  w.set_active(w.active & ~taken);
  return &s + 1;
}
template <bool kFull>
const Step* jump(Warp&, const Step& s) {
  return s.target;
}
template <bool kFull>
const Step* join(Warp& w, const Step& s) {
  if (w.split_count == 0 || w.splits[w.split_count - 1].join != &s) return &s + 1;
  return next_lanes(w, &s);
}
template <bool kFull>
const Step* finish(Warp& w, const Step&) {
  w.live &= ~w.active;
  return next_lanes(w, nullptr);
}
// @%p in front of anything but a branch.
template <bool kNegated, bool kFull>
const Step* guard(Warp& w, const Step& s) {
  const std::uint32_t bits = w.predicate(s.a);
  const std::uint32_t lanes = (kNegated ? ~bits : bits) & w.active;
  if (lanes == 0) return s.target;
  w.guarded = w.active;
  w.set_active(lanes);
  return &s + 1;
}
template <bool kFull>
const Step* unguard(Warp& w, const Step& s) {
  w.set_active(w.guarded & w.live);
  return w.active != 0 ? &s + 1 : next_lanes(w, nullptr);
}
template <bool kFull>
const Step* mark(Warp& w, const Step& s) {
  w.predicate(s.d) |= w.active;
  return &s + 1;
}
template <bool kFull>
const Step* check(Warp& w, const Step& s) {
  const std::uint32_t missing = w.active & ~w.predicate(s.d);
  if (missing != 0) fault_unwritten(w, s, __builtin_ctz(missing));
  return &s + 1;
}
template <bool kFull>
const Step* trap(Warp& w, const Step& s) {
  fault(w, s, first_lane<kFull>(w), "trap");
}
template <bool kFull>
const Step* fence(Warp&, const Step& s) {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  return &s + 1;
}

template <bool kFull>
const Step* copy_predicate(Warp& w, const Step& s) {
  write_predicate<kFull>(w, s.d, w.predicate(s.a));
  return &s + 1;
}
template <bool kFull>
const Step* pack_16(Warp& w, const Step& s) {
  const auto *a = w.lanes<std::uint32_t>(s.a), *b = w.lanes<std::uint32_t>(s.b);
  write<kFull, std::uint32_t>(w, s.d, [&](int i) { return (a[i] & 0xffffu) | b[i] << 16; });
  return &s + 1;
}
template <bool kFull>
const Step* pack_32(Warp& w, const Step& s) {
  const auto *a = w.lanes<std::uint32_t>(s.a), *b = w.lanes<std::uint32_t>(s.b);
  write<kFull, std::uint64_t>(w, s.d, [&](int i) { return std::uint64_t{b[i]} << 32 | a[i]; });
  return &s + 1;
}
// To d and b; either may be the register that is unpacked.
template <bool kFull>
const Step* unpack_16(Warp& w, const Step& s) {
  alignas(64) std::uint32_t a[kLanes];
  std::memcpy(a, w.lanes<std::uint32_t>(s.a), sizeof(a));
  write<kFull, std::uint32_t>(w, s.d, [&](int i) { return a[i] & 0xffffu; });
  write<kFull, std::uint32_t>(w, s.b, [&](int i) { return a[i] >> 16; });
  return &s + 1;
}
template <bool kFull>
const Step* unpack_32(Warp& w, const Step& s) {
  const auto* a = w.lanes<std::uint64_t>(s.a);
  write<kFull, std::uint32_t>(w, s.d, [&](int i) { return static_cast<std::uint32_t>(a[i]); });
  write<kFull, std::uint32_t>(w, s.b,
                              [&](int i) { return static_cast<std::uint32_t>(a[i] >> 32); });
  return &s + 1;
}
template <bool kFull>
const Step* not_predicate(Warp& w, const Step& s) {
  write_predicate<kFull>(w, s.d, ~w.predicate(s.a));
  return &s + 1;
}
// mad.wide d, a, b, c: products of 32 bits and a sum of 64.
template <class To, class From, bool kFull>
const Step* mad_wide(Warp& w, const Step& s) {
  const auto *a = w.lanes<From>(s.a), *b = w.lanes<From>(s.b);
  const auto* c = w.lanes<std::uint64_t>(s.c);
  write<kFull, std::uint64_t>(
      w, s.d, [&](int i) { return static_cast<std::uint64_t>(To{a[i]} * To{b[i]}) + c[i]; });
  return &s + 1;
}
// bfi.b64 d, a, b, c, more: a's lower bits at position c of b.
template <class T, bool kFull>
const Step* insert_bits(Warp& w, const Step& s) {
  const auto *a = w.lanes<T>(s.a), *b = w.lanes<T>(s.b);
  const auto *at = w.lanes<std::uint32_t>(s.c), *length = w.lanes<std::uint32_t>(s.more[0]);
  constexpr std::uint32_t kBits = 8 * sizeof(T);
  write<kFull, T>(w, s.d, [&](int i) {
    const std::uint32_t position = at[i] & 255u, bits = length[i] & 255u;
    if (position >= kBits) return b[i];
    const T ones = bits >= kBits ? ~T{0} : static_cast<T>((T{1} << bits) - 1);
    const T mask = static_cast<T>(ones << position);
    return static_cast<T>((a[i] << position & mask) | (b[i] & ~mask));
  });
  return &s + 1;
}
template <void (*kCompute)(const float*, const float*, const float*, float*), bool kFull>
const Step* rounded(Warp& w, const Step& s) {
  alignas(64) float result[kLanes];
  kCompute(w.lanes<float>(s.a), w.lanes<float>(s.b), w.lanes<float>(s.c), result);
  write<kFull, float>(w, s.d, [&](int i) { return result[i]; });
  return &s + 1;
}
inline void add_rz(const float* a, const float* b, const float*, float* to) {
  add_towards_zero(a, b, to);
}

// "bar": the warp waits. a: the barrier's number, b: the threads that take part, where given.
template <int kReduction, bool kFull>
const Step* barrier(Warp& w, const Step& s) {
  if (w.active != w.live)
    fault(w, s, first_lane<kFull>(w), "a barrier that not all threads of the warp have reached");
  w.waiting = {};
  const bool counted = s.more != nullptr && s.more[0] != 0;
  if constexpr (kReduction == 0) {
    w.waiting.barrier = w.lanes<std::uint32_t>(s.a)[first_lane<kFull>(w)];
    w.waiting.threads = counted ? w.lanes<std::uint32_t>(s.b)[first_lane<kFull>(w)] : 0;
  } else {
    w.waiting.barrier = w.lanes<std::uint32_t>(s.a)[first_lane<kFull>(w)];
    w.waiting.predicate = w.predicate(s.b) & w.active;
    w.waiting.result = s.d;
  }
  w.waiting.reduction = kReduction;
  w.waiting.step = &s;
  w.state = Warp::State::at_barrier;
  w.at = &s + 1;
  return nullptr;
}

// The lanes a warp-wide instruction names must be those that execute it ("membermask").
inline void check_members(Warp& w, const Step& s, std::uint32_t offset) {
  const auto* masks = w.lanes<std::uint32_t>(offset);
  const int lane = __builtin_ctz(w.active);
  if (masks[lane] != w.active) fault_members(w, s, lane, masks[lane]);
}

enum class Shuffle : std::uint8_t { up, down, butterfly, index };
// shfl.sync d|p, a, b, c, membermask; more: p or 0 for none, membermask.
template <Shuffle kMode, bool kFull>
const Step* shuffle(Warp& w, const Step& s) {
  check_members(w, s, s.more[1]);
  const auto *a = w.lanes<std::uint32_t>(s.a), *b = w.lanes<std::uint32_t>(s.b),
             *c = w.lanes<std::uint32_t>(s.c);
  alignas(64) std::uint32_t result[kLanes];
  std::uint32_t inside = 0;
  for (int i = 0; i < kLanes; ++i) {
    const std::uint32_t segment = c[i] >> 8 & 31u;
    const int by = static_cast<int>(b[i] & 31u);
    const int last =
        static_cast<int>((static_cast<unsigned>(i) & segment) | (c[i] & 31u & ~segment));
    int from = i;
    if constexpr (kMode == Shuffle::up) from = i - by;
    if constexpr (kMode == Shuffle::down) from = i + by;
    if constexpr (kMode == Shuffle::butterfly) from = i ^ by;
    if constexpr (kMode == Shuffle::index)
      from = static_cast<int>((static_cast<unsigned>(i) & segment) |
                              (static_cast<unsigned>(by) & ~segment));
    const bool in = kMode == Shuffle::up ? from >= last : from <= last;
    if (in) inside |= 1u << i;
    from = in ? from : i;
    result[i] = a[from];
    if (!kFull && (w.active >> i & 1) != 0 && (w.active >> from & 1) == 0)
      fault(w, s, i, "a shuffle from a lane that takes no part");
  }
  write<kFull, std::uint32_t>(w, s.d, [&](int i) { return result[i]; });
  if (s.more[0] != 0) write_predicate<kFull>(w, s.more[0], inside);
  return &s + 1;
}

enum class Vote : std::uint8_t { ballot, any, all, uniform };
// vote.sync d, a, membermask (b)
template <Vote kMode, bool kFull>
const Step* vote(Warp& w, const Step& s) {
  check_members(w, s, s.b);
  const std::uint32_t yes = w.predicate(s.a) & w.active;
  if constexpr (kMode == Vote::ballot) {
    write<kFull, std::uint32_t>(w, s.d, [&](int) { return yes; });
  } else {
    const bool result = kMode == Vote::any   ? yes != 0
                        : kMode == Vote::all ? yes == w.active
                                             : yes == 0 || yes == w.active;
    write_predicate<kFull>(w, s.d, result ? kAllLanes : 0);
  }
  return &s + 1;
}

// bar.warp.sync: lanes of a warp run together here; those of the mask must all be there.
template <bool kFull>
const Step* warp_barrier(Warp& w, const Step& s) {
  check_members(w, s, s.a);
  return &s + 1;
}

inline void whole_warp(Warp& w, const Step& s) {
  if (w.active != kAllLanes)
    fault(w, s, __builtin_ctz(w.active), "an instruction of the whole warp, and lanes are missing");
}

template <int kCount, bool kTransposed, bool kFull>
const Step* load_matrix(Warp& w, const Step& s) {
  whole_warp(w, s);
  unsigned char* at[kLanes];
  addresses<Space::shared, true>(w, s, at);
  alignas(64) std::uint32_t result[kCount][kLanes];
  for (int m = 0; m < kCount; ++m)
    for (int i = 0; i < kLanes; ++i) {
      if constexpr (kTransposed) {
        const int row = 8 * m + i % 4 * 2, column = i / 4 * 2;
        result[m][i] = read<std::uint16_t>(at[row] + column) |
                       std::uint32_t{read<std::uint16_t>(at[row + 1] + column)} << 16;
      } else {
        result[m][i] = read<std::uint32_t>(at[8 * m + i / 4] + i % 4 * 4);
      }
    }
  for (int m = 0; m < kCount; ++m)
    std::memcpy(w.lanes<std::uint32_t>(s.more[m]), result[m], sizeof(result[m]));
  return &s + 1;
}

enum class Element : std::uint8_t { f16, bf16, tf32 };
// The elements of a register of all lanes, in their order: eight of a row (A) or column (B) lie one
// after the other, of tf32 four.
template <Element kElement>
inline void elements(const std::uint32_t* lanes, float* to) {
  if constexpr (kElement == Element::tf32) {
    for (int i = 0; i < kLanes; ++i) to[i] = bits_as<float>(lanes[i] & 0xffffe000u);
  } else if constexpr (kElement == Element::bf16) {
    for (int i = 0; i < kLanes; ++i) {
      to[2 * i] = bits_as<float>(lanes[i] << 16);
      to[2 * i + 1] = bits_as<float>(lanes[i] & 0xffff0000u);
    }
  } else {
#if defined(__F16C__)
    for (int i = 0; i < kLanes; i += 4) {
      const auto eight = _mm_loadu_si128(reinterpret_cast<const __m128i*>(lanes + i));
      _mm256_storeu_ps(to + 2 * i, _mm256_cvtph_ps(eight));
    }
#else
    for (int i = 0; i < kLanes; ++i) {
      to[2 * i] = HalfToFloat::of(static_cast<std::uint16_t>(lanes[i]));
      to[2 * i + 1] = HalfToFloat::of(static_cast<std::uint16_t>(lanes[i] >> 16));
    }
#endif
  }
}

// Four rows of c += a b, in the order of k.
template <int kDepth>
inline void add_products(const float (*a)[kDepth], const float (*b)[8], float (*c)[8]) {
#if defined(__FMA__)
  __m256 sum[4];
  for (int i = 0; i < 4; ++i) sum[i] = _mm256_loadu_ps(c[i]);
#pragma GCC unroll 4
  for (int k = 0; k < kDepth; ++k) {
    const __m256 line = _mm256_loadu_ps(b[k]);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i)
      sum[i] = _mm256_fmadd_ps(_mm256_broadcast_ss(&a[i][k]), line, sum[i]);
  }
  for (int i = 0; i < 4; ++i) _mm256_storeu_ps(c[i], sum[i]);
#else
  for (int i = 0; i < 4; ++i)
    for (int k = 0; k < kDepth; ++k)
      for (int e = 0; e < 8; ++e) c[i][e] = __builtin_fmaf(a[i][k], b[k][e], c[i][e]);
#endif
}

// mma.sync.m16n8kK ("Warp Level Matrix Instructions"): products and sums in binary32, in the order
// of k. more: d, a, b, c. The exact order in which tensor cores add is not documented.
template <Element kElement, int kDepth, bool kFull>
const Step* multiply_matrices(Warp& w, const Step& s) {
  whole_warp(w, s);
  constexpr int kWide = kElement == Element::tf32 ? 4 : 8;  // of a register, along k
  constexpr int kA = 2 * kDepth / kWide, kB = kDepth / kWide;
  alignas(64) float a[16][kDepth], b[kDepth][8], c[16][8], tile[64];
  for (int r = 0; r < kA; ++r) {
    elements<kElement>(w.lanes<std::uint32_t>(s.more[4 + r]), tile);
    for (int row = 0; row < 8; ++row)
      std::memcpy(&a[row + 8 * (r % 2)][kWide * (r / 2)], tile + row * kWide,
                  kWide * sizeof(float));
  }
  for (int r = 0; r < kB; ++r) {
    elements<kElement>(w.lanes<std::uint32_t>(s.more[4 + kA + r]), tile);
    for (int k = 0; k < kWide; ++k)
      for (int column = 0; column < 8; ++column)
        b[kWide * r + k][column] = tile[column * kWide + k];
  }
  for (int r = 0; r < 4; ++r) {
    const float* lanes = w.lanes<float>(s.more[4 + kA + kB + r]);
    for (int i = 0; i < kLanes; ++i) c[i / 4 + 8 * (r / 2)][i % 4 * 2 + r % 2] = lanes[i];
  }
  for (int row = 0; row < 16; row += 4) add_products<kDepth>(&a[row], b, &c[row]);
  for (int r = 0; r < 4; ++r) {
    float* lanes = w.lanes<float>(s.more[r]);
    for (int i = 0; i < kLanes; ++i) lanes[i] = c[i / 4 + 8 * (r / 2)][i % 4 * 2 + r % 2];
  }
  return &s + 1;
}

template <bool kFull>
const Step* commit_copies(Warp& w, const Step& s) {
  for (int i = 0; i < kLanes; ++i)
    w.copy_group[static_cast<std::size_t>(i)] += static_cast<int>(w.active >> i & 1);
  return &s + 1;
}
// All groups of a lane but its latest `value` have arrived.
template <bool kFull>
const Step* wait_copies(Warp& w, const Step& s) {
  deliver_copies(w, static_cast<int>(s.value));
  return &s + 1;
}

// cp.async.wait_all: those that were not committed, too.
template <bool kFull>
const Step* wait_all_copies(Warp& w, const Step& s) {
  commit_copies<kFull>(w, s);
  deliver_copies(w, 0);
  return &s + 1;
}

}  // namespace
}  // namespace thorax::ptx
