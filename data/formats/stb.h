// PNG and JPEG by stb_image: what every build has.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "data/decode_samples.h"

namespace thorax {

// ImageFormat::decode (data/formats/format.h).
Samples decode_png_by_stb(std::span<const uint8_t> bytes, const std::string& name,
                          const DecodeLimits& limits, Use use);
Samples decode_jpeg_by_stb(std::span<const uint8_t> bytes, const std::string& name,
                           const DecodeLimits& limits, Use use);
// Of bytes that passed check_jpeg, whose result is `info`.
Samples decode_checked_jpeg_by_stb(std::span<const uint8_t> bytes, ImageInfo info,
                                   const std::string& name, Use use);

}  // namespace thorax
