// JPEG by libjpeg-turbo (a build without it has stb_image for JPEG).
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "data/decode_samples.h"

namespace thorax {

// "libjpeg-turbo 2.1.5", or "" in a build without.
std::string turbo_reader();

// ImageFormat::decode (data/formats/format.h). Takes and refuses the files that decode_jpeg_by_stb
// does, with the same orientation, notes and channels: the file is checked by the same walk, and
// what libjpeg-turbo refuses or warns about, and four components, go to stb_image. Gray differs by
// at most 1 of 255 levels (another rounding in the inverse DCT), colour by a few at edges of chroma
// that was stored at half the size (tests/data/formats/codecs_test.cpp).
Samples decode_jpeg_by_turbo(std::span<const uint8_t> bytes, const std::string& name,
                             const DecodeLimits& limits, Use use);

}  // namespace thorax
