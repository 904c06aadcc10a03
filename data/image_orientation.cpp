#include "data/image_orientation.h"

namespace thorax {

int exif_orientation(std::span<const uint8_t> tiff) {
  if (tiff.size() < 14) return 1;
  const bool little = tiff[0] == 'I' && tiff[1] == 'I';
  if (!little && !(tiff[0] == 'M' && tiff[1] == 'M')) return 1;
  const auto at16 = [&](size_t i) -> uint32_t {
    return little ? tiff[i] | uint32_t{tiff[i + 1]} << 8 : uint32_t{tiff[i]} << 8 | tiff[i + 1];
  };
  const auto at32 = [&](size_t i) -> uint32_t {
    return little ? at16(i) | at16(i + 2) << 16 : at16(i) << 16 | at16(i + 2);
  };
  if (at16(2) != 42) return 1;
  const size_t directory = at32(4);
  if (directory > tiff.size() - 2) return 1;
  const size_t entries = at16(directory);
  constexpr uint32_t kOrientation = 0x0112, kShort = 3;
  for (size_t i = 0; i < entries; ++i) {
    const size_t entry = directory + 2 + 12 * i;
    if (entry + 12 > tiff.size()) return 1;
    if (at16(entry) != kOrientation) continue;
    const uint32_t value = at16(entry + 8);
    return at16(entry + 2) == kShort && value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

}  // namespace thorax
