// TIFF by libtiff (a build without it has no row's functions for TIFF).
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "data/decode_samples.h"

namespace thorax {

// "libtiff 4.5.0", or "" in a build without.
std::string tiff_reader();

// ImageFormat::check and decode (data/formats/format.h). Strips and tiles, either byte order,
// BigTIFF, every lossless compression that the library has, and JPEG. Samples: 1, 2, 4, 8, 10, 12,
// 14 and 16 bits; 32-bit, signed and real numbers by samples_of (data/formats/numbers.h). Gray
// (white or black is zero), palette, RGB, YCbCr within JPEG; other colours are refused. Of several
// pages the first is read, with a note; a mask of several is refused.
ImageInfo check_tiff(std::span<const uint8_t> bytes, const std::string& name,
                     const DecodeLimits& limits);
Samples decode_tiff(std::span<const uint8_t> bytes, const std::string& name,
                    const DecodeLimits& limits, Use use);

}  // namespace thorax
