// Reads the structure of an image file without computing pixels. stb_image forgives files that
// end early (a JPEG that was cut short, a PNG without IEND or with wrong checksums) and fills the
// rest with gray; a training set must not contain such images unnoticed, so every file is walked
// first: the chunks of a PNG with their checksums, the entropy-coded data of a JPEG to its last
// block.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace thorax {

// What the header says. `channels`: 1 gray, 2 gray+alpha, 3 RGB, 4 RGBA (or CMYK in a JPEG), after
// a palette is expanded. `bits`: 8 (also for 1, 2 and 4 bits a sample) or 16.
struct ImageInfo {
  std::string format;  // ImageFormat::id (data/formats/format.h): "jpeg", "png", ...
  // Of the pixels as they are stored; `read_image_info` and decoded images have them turned by
  // `orientation`.
  int height = 0;
  int width = 0;
  int channels = 0;
  int bits = 8;
  int64_t file_bytes = 0;
  int sample_bits = 8;           // as stored: 1 to 8, or up to 16 where `bits` is 16
  int significant_bits = 0;      // PNG: the largest that sBIT names for gray or colour; 0 = none
  int orientation = 1;           // EXIF, 1 to 8
  std::vector<uint8_t> palette;  // PNG: R, G, B of each entry; empty without a palette
  std::vector<uint8_t> palette_alpha;  // PNG: tRNS of a palette, of its first entries
  bool ycc = false;                    // JPEG of three components that are luma and chroma
  bool lossy = false;                  // pixels are not those that were compressed
  bool no_end_marker = false;          // lacks JPEG's EOI or PNG's IEND, and nothing else
  std::vector<std::string> notes;      // harmless faults, in words
};

// Caps that hold before anything of the image's size is allocated.
struct DecodeLimits {
  int64_t max_file_bytes = int64_t{256} << 20;
  int max_side = 20000;
  int64_t max_pixels = 64'000'000;
};

// Walks the whole file, by the row of its format. Throws Error "[decode] NAME: rule" for: empty, no
// format that this build reads, over a limit, truncated, bad checksum of a critical chunk,
// unsupported coding. A wrong checksum in an ancillary chunk (whose content is then not used) and a
// JPEG or PNG that lacks only its end marker are notes. `name` is only used in messages.
ImageInfo check_container(std::span<const uint8_t> bytes, const std::string& name,
                          const DecodeLimits& limits = {});

// check_container for bytes that begin as a PNG does.
ImageInfo check_png(std::span<const uint8_t> bytes, const std::string& name,
                    const DecodeLimits& limits);

// Throws Error "[decode] NAME: FORMAT header says ..." for a size of zero or over a limit.
void check_size(const ImageInfo& info, const std::string& name, const DecodeLimits& limits);

// CRC-32 of PNG (ISO 3309), over `bytes`.
uint32_t png_crc32(std::span<const uint8_t> bytes);

}  // namespace thorax
