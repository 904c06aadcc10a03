// Philox4x32-10: random numbers as a pure function of (seed, stream, counter).
// Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace thorax {

// Four independent 32-bit words for a key and a 128-bit counter (here: 64-bit stream, 64-bit
// index). No state: any thread, any device and any order give the same bits.
constexpr std::array<std::uint32_t, 4> philox4x32(std::uint64_t seed, std::uint64_t stream,
                                                  std::uint64_t index) {
  std::array<std::uint32_t, 4> c = {
      static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32),
      static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)};
  std::uint32_t k0 = static_cast<std::uint32_t>(seed);
  std::uint32_t k1 = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * c[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * c[2];
    c = {static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<std::uint32_t>(p1),
         static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<std::uint32_t>(p0)};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

// Uniform in [0, 1) with 24 bits, from one word.
constexpr float unit_float(std::uint32_t word) {
  return static_cast<float>(word >> 8) * 0x1p-24f;
}

// A sequence drawn from one (seed, stream); copyable, its position is its whole state.
class Philox {
 public:
  constexpr explicit Philox(std::uint64_t seed, std::uint64_t stream = 0,
                            std::uint64_t position = 0)
      : seed_(seed), stream_(stream), position_(position) {}

  constexpr std::uint32_t next_u32() {
    const auto words = philox4x32(seed_, stream_, position_ / 4);
    return words[position_++ % 4];
  }
  constexpr std::uint64_t next_u64() {
    const std::uint64_t high = next_u32();
    return high << 32 | next_u32();
  }
  // [0, 1)
  constexpr double uniform() { return static_cast<double>(next_u64() >> 11) * 0x1p-53; }
  constexpr double uniform(double low, double high) { return low + (high - low) * uniform(); }
  // Whole number in [0, bound), unbiased (rejection).
  constexpr std::uint64_t below(std::uint64_t bound) {
    const std::uint64_t threshold = (0 - bound) % bound;
    for (;;) {
      const std::uint64_t value = next_u64();
      if (value >= threshold) return value % bound;
    }
  }
  // Standard normal, Box-Muller; always draws two uniforms so that positions stay predictable.
  double normal() {
    const double u = 1.0 - uniform();  // (0, 1]
    const double v = uniform();
    return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v);
  }
  constexpr std::uint64_t position() const { return position_; }

 private:
  std::uint64_t seed_;
  std::uint64_t stream_;
  std::uint64_t position_;
};

}  // namespace thorax
