// Reads the structure of a JPEG or PNG file without decoding pixels. stb_image forgives files that
// end early (a JPEG without EOI, a PNG without IEND or with wrong checksums) and fills the rest
// with gray; a training set must not contain such images unnoticed, so every file is walked first.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace thorax {

// What the header says. `channels`: 1 gray, 2 gray+alpha, 3 RGB, 4 RGBA (or CMYK in a JPEG), after
// a palette is expanded. `bits`: 8 (also for 1, 2 and 4 bits a sample) or 16.
struct ImageInfo {
  std::string format;  // "jpeg" or "png"
  int height = 0;
  int width = 0;
  int channels = 0;
  int bits = 8;
  int64_t file_bytes = 0;
};

// Caps that hold before anything of the image's size is allocated.
struct DecodeLimits {
  int64_t max_file_bytes = int64_t{256} << 20;
  int max_side = 20000;
  int64_t max_pixels = 64'000'000;
};

// Walks the whole file. Throws Error "[decode] NAME: rule" for: empty, not JPEG/PNG, over a limit,
// truncated, bad checksum, unsupported coding. `name` is only used in messages.
ImageInfo check_container(std::span<const uint8_t> bytes, const std::string& name,
                          const DecodeLimits& limits = {});

// CRC-32 of PNG (ISO 3309), over `bytes`.
uint32_t png_crc32(std::span<const uint8_t> bytes);

}  // namespace thorax
