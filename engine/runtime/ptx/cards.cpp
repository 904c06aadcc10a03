#include "engine/runtime/ptx/cards.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>

#include "engine/tensor/error.h"

namespace thorax::ptx {
namespace {

constexpr std::size_t kKiB = 1024, kMiB = 1024 * 1024;

// Sources and assumptions: TIME_MODEL.md, "Constants".
constexpr std::array kCards{
    Card{"RTX 2070 Super", 75, 40, 1.770e9, 64, 64, 2, 16, 16, 64, 512, 0, 96 * kKiB, 4 * kMiB,
         1024, 448e9},
    Card{"RTX 3090", 86, 82, 1.695e9, 128, 64, 2, 16, 16, 128, 512, 256, 128 * kKiB, 6 * kMiB, 1536,
         936e9},
    Card{"RTX A6000", 86, 84, 1.800e9, 128, 64, 2, 16, 16, 128, 1024, 512, 128 * kKiB, 6 * kMiB,
         1536, 768e9},
    Card{"A100", 80, 108, 1.410e9, 64, 64, 32, 16, 32, 128, 2048, 1024, 192 * kKiB, 40 * kMiB, 5120,
         1555e9},
    // mma.sync reaches 0.63 of the 4,096 and 2,048 FLOP of wgmma.
    Card{"H100", 90, 132, 1.830e9, 128, 64, 64, 16, 32, 128, 2580, 1290, 256 * kKiB, 50 * kMiB,
         5120, 3352e9},
    Card{"H200", 90, 132, 1.830e9, 128, 64, 64, 16, 32, 128, 2580, 1290, 256 * kKiB, 50 * kMiB,
         5120, 4800e9},
};

}  // namespace

Limits limits_of(int capability) {
  switch (capability) {
    case 75:
      return {32, 16, 64 * kKiB, 0};
    case 80:
      return {64, 32, 164 * kKiB, kKiB};
    case 86:
    case 89:
      return {48, capability == 86 ? 16 : 24, 100 * kKiB, kKiB};
    default:
      return {64, 32, 228 * kKiB, kKiB};
  }
}

int resident_blocks(int capability, int registers, int threads, std::size_t shared) {
  const Limits sm = limits_of(capability);
  const int warps = std::max(1, (threads + 31) / 32);
  int blocks = std::min(sm.blocks, sm.warps / warps);
  if (registers > 0) {
    const int per_warp = (registers * 32 + 255) / 256 * 256;
    blocks = std::min(blocks, 65536 / per_warp / warps);
  }
  if (shared + sm.reserved > 0)
    blocks = std::min(blocks, static_cast<int>(sm.shared / (shared + sm.reserved)));
  return blocks;
}

std::span<const Card> cards() {
  return kCards;
}

const Card& card_named(std::string_view name) {
  std::string known;
  for (const Card& card : kCards) {
    if (card.name == name) return card;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", card.name);
  }
  fail("[ptx] card '{}' is not known; there are {}", name, known);
}

const Card* card_of(int capability) {
  for (const Card& card : kCards)
    if (card.capability == capability) return &card;
  return nullptr;
}

}  // namespace thorax::ptx
