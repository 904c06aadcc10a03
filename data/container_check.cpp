#include "data/container_check.h"

#include <algorithm>
#include <cstring>

#include "data/image_orientation.h"
#include "engine/io/crc32.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

using Bytes = std::span<const uint8_t>;

uint32_t big32(Bytes b, size_t at) {
  return uint32_t{b[at]} << 24 | uint32_t{b[at + 1]} << 16 | uint32_t{b[at + 2]} << 8 | b[at + 3];
}

void read_png_header(Bytes b, const std::string& name, const DecodeLimits& limits,
                     ImageInfo& info) {
  const uint32_t width = big32(b, 16), height = big32(b, 20);
  info.width = static_cast<int>(std::min<uint32_t>(width, 0x7fffffff));
  info.height = static_cast<int>(std::min<uint32_t>(height, 0x7fffffff));
  check_size(info, name, limits);
  const int depth = b[24], color = b[25];
  const bool depth_fits = color == 0
                              ? depth == 1 || depth == 2 || depth == 4 || depth == 8 || depth == 16
                          : color == 3 ? depth == 1 || depth == 2 || depth == 4 || depth == 8
                          : (color == 2 || color == 4 || color == 6) ? depth == 8 || depth == 16
                                                                     : false;
  THORAX_CHECK(depth_fits, "[decode] {}: png color type {} with {} bits a sample is not allowed",
               name, color, depth);
  THORAX_CHECK(b[26] == 0 && b[27] == 0 && b[28] <= 1,
               "[decode] {}: png compression {}, filter {}, interlace {} is unknown", name, b[26],
               b[27], b[28]);
  info.bits = depth == 16 ? 16 : 8;
  info.sample_bits = depth;
  info.channels = color == 0 ? 1 : color == 4 ? 2 : color == 6 ? 4 : 3;
}

}  // namespace

ImageInfo check_png(std::span<const uint8_t> b, const std::string& name,
                    const DecodeLimits& limits) {
  THORAX_CHECK(b.size() >= 8 + 25, "[decode] {}: truncated png: only {} bytes", name, b.size());
  ImageInfo info;
  info.format = "png";
  info.file_bytes = static_cast<int64_t>(b.size());
  bool have_palette = false, have_data = false, palette_color = false;
  size_t at = 8;
  for (int index = 0;; ++index) {
    // Only the end chunk is missing, or a part of it. Whether all pixels are there, their decoder
    // finds out.
    static constexpr uint8_t kEnd[12] = {0, 0, 0, 0, 'I', 'E', 'N', 'D', 0xAE, 0x42, 0x60, 0x82};
    if (have_data && b.size() - at < 12 &&
        std::equal(b.begin() + static_cast<ptrdiff_t>(at), b.end(), kEnd)) {
      info.no_end_marker = true;
      info.notes.emplace_back("the end chunk is missing, all pixels are there");
      return info;
    }
    THORAX_CHECK(b.size() - at >= 12, "[decode] {}: truncated png: ends at byte {} before IEND",
                 name, b.size());
    const uint32_t length = big32(b, at);
    std::string type(reinterpret_cast<const char*>(b.data() + at + 4), 4);
    const bool letters = std::all_of(type.begin(), type.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    });
    THORAX_CHECK(letters, "[decode] {}: png chunk {} at byte {} has no valid type", name, index,
                 at);
    THORAX_CHECK(length <= b.size() - at - 12,
                 "[decode] {}: truncated png: chunk {} at byte {} claims {} bytes, {} are left",
                 name, type, at, length, b.size() - at - 12);
    const uint32_t stored = big32(b, at + 8 + length);
    const uint32_t computed = png_crc32(b.subspan(at + 4, size_t{length} + 4));
    const bool ancillary = type[0] >= 'a';
    THORAX_CHECK(stored == computed || ancillary,
                 "[decode] {}: png chunk {} at byte {} has a wrong checksum", name, type, at);
    const Bytes body = b.subspan(at + 8, length);
    if (stored != computed) {
      info.notes.push_back(
          fmt::format("chunk {} has a wrong checksum; the image does not need it", type));
    } else if (index == 0) {
      THORAX_CHECK(type == "IHDR" && length == 13, "[decode] {}: png does not begin with IHDR",
                   name);
      read_png_header(b, name, limits, info);
      palette_color = b[25] == 3;
    } else if (type == "IHDR") {
      fail("[decode] {}: png has a second IHDR at byte {}", name, at);
    } else if (type == "PLTE") {
      THORAX_CHECK(length > 0 && length % 3 == 0 && length <= 768,
                   "[decode] {}: png palette has {} bytes", name, length);
      have_palette = true;
      if (palette_color && !have_data) info.palette.assign(body.begin(), body.end());
    } else if (type == "sBIT") {
      // One byte for each channel; alpha's is the last and does not count.
      const size_t channels = b[25] == 0 || b[25] == 4 ? 1 : 3;
      if (!palette_color && length >= channels)
        info.significant_bits =
            *std::max_element(body.begin(), body.begin() + static_cast<ptrdiff_t>(channels));
      if (info.significant_bits > info.sample_bits) info.significant_bits = 0;
    } else if (type == "eXIf") {
      info.orientation = exif_orientation(body);
    } else if (type == "tRNS") {
      if (palette_color) {
        info.channels = 4;
        info.palette_alpha.assign(body.begin(), body.end());
      } else if (info.channels == 1 || info.channels == 3)
        ++info.channels;
    } else if (type == "IDAT") {
      THORAX_CHECK(!palette_color || have_palette,
                   "[decode] {}: png has no palette before its data", name);
      have_data = true;
    } else if (type == "IEND") {
      THORAX_CHECK(have_data, "[decode] {}: png has no image data", name);
      return info;
    }
    at += size_t{length} + 12;
  }
}

void check_size(const ImageInfo& info, const std::string& name, const DecodeLimits& limits) {
  THORAX_CHECK(info.width > 0 && info.height > 0, "[decode] {}: {} header says {}x{} pixels", name,
               info.format, info.width, info.height);
  THORAX_CHECK(info.width <= limits.max_side && info.height <= limits.max_side,
               "[decode] {}: {} header says {}x{} pixels, the limit is {} a side", name,
               info.format, info.width, info.height, limits.max_side);
  THORAX_CHECK(int64_t{info.width} * info.height <= limits.max_pixels,
               "[decode] {}: {} header says {}x{} pixels, the limit is {} in all", name,
               info.format, info.width, info.height, limits.max_pixels);
}

uint32_t png_crc32(std::span<const uint8_t> bytes) {
  return crc32(std::as_bytes(bytes));
}

}  // namespace thorax
