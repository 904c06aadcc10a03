// Pixels as a file stores them, before they are brightness (decode.h) or inside and outside
// (decode_mask.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "data/container_check.h"
#include "data/stb_bridge.h"

namespace thorax {

struct Samples {
  ImageInfo info;    // height and width as stored, not yet turned
  int channels = 0;  // of `pixels`: 1 for a palette's indices
  // uint8_t, or uint16_t where info.bits is 16. Samples of 1, 2 and 4 bits are multiplied by
  // `step`.
  StbPixels pixels;
  int step = 1;

  size_t count() const { return static_cast<size_t>(info.height) * info.width; }
  const uint8_t* u8() const { return static_cast<const uint8_t*>(pixels.get()); }
  const uint16_t* u16() const { return static_cast<const uint16_t*>(pixels.get()); }
};

// `luma`: of a colour JPEG only the luma plane (BT.601) is made. Throws Error "[decode] NAME: ..."
// for files that break a rule, also for a pixel whose palette index the palette does not have.
Samples decode_samples(std::span<const uint8_t> bytes, const std::string& name,
                       const DecodeLimits& limits, bool luma);

std::vector<std::byte> read_image_file(const std::filesystem::path& path,
                                       const DecodeLimits& limits);
inline std::span<const uint8_t> as_u8(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
}

}  // namespace thorax
