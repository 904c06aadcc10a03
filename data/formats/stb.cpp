#include "data/formats/stb.h"

#include <algorithm>
#include <vector>

#include "data/decode_jpeg.h"
#include "data/stb_bridge.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

// The same file with its palette left out and its pixels declared gray: stb_image then hands out
// indices, instead of colours from a table that it does not check them against.
std::vector<uint8_t> as_gray(std::span<const uint8_t> png) {
  std::vector<uint8_t> out(png.begin(), png.begin() + 8);
  for (size_t at = 8; at + 12 <= png.size();) {
    const size_t length =
        size_t{png[at]} << 24 | size_t{png[at + 1]} << 16 | size_t{png[at + 2]} << 8 | png[at + 3];
    const auto begin = png.begin() + static_cast<ptrdiff_t>(at);
    const std::string type(begin + 4, begin + 8);
    if (type != "PLTE" && type != "tRNS")
      out.insert(out.end(), begin, begin + static_cast<ptrdiff_t>(length + 12));
    if (type == "IHDR") out[25] = 0;  // color type; stb_image reads no checksum
    if (type == "IEND") break;
    at += length + 12;
  }
  return out;
}

// Without the part of an end chunk that a file was cut in.
std::vector<uint8_t> up_to_last_chunk(std::span<const uint8_t> png) {
  size_t at = 8;
  while (at + 12 <= png.size())
    at += 12 + (size_t{png[at]} << 24 | size_t{png[at + 1]} << 16 | size_t{png[at + 2]} << 8 |
                png[at + 3]);
  return {png.begin(), png.begin() + static_cast<ptrdiff_t>(at)};
}

// Decodes bytes that passed the check of their container, whose result is `info`.
Samples decode_by_stb(std::span<const uint8_t> bytes, ImageInfo info, const std::string& name,
                      int wanted) {
  Samples s;
  s.info = std::move(info);
  int width = 0, height = 0;
  std::string reason;
  s.pixels = stb_decode(bytes, s.info, width, height, s.channels, reason, wanted);
  THORAX_CHECK(s.pixels, "[decode] {}: corrupt {}: {}", name, s.info.format, reason);
  THORAX_CHECK(
      width == s.info.width && height == s.info.height && s.channels >= 1 && s.channels <= 4,
      "[decode] {}: header says {}x{}, decoder made {}x{}x{}", name, s.info.width, s.info.height,
      width, height, s.channels);
  return s;
}

}  // namespace

Samples decode_png_by_stb(std::span<const uint8_t> bytes, const std::string& name,
                          const DecodeLimits& limits, Use) {
  ImageInfo info = check_png(bytes, name, limits);
  const bool palette = !info.palette.empty();
  std::vector<uint8_t> changed;
  if (palette)
    changed = as_gray(bytes);
  else if (info.no_end_marker)
    changed = up_to_last_chunk(bytes);
  // stb_image does not look at its length and checksum.
  if (info.no_end_marker)
    changed.insert(changed.end(), {0, 0, 0, 0, 'I', 'E', 'N', 'D', 0, 0, 0, 0});
  Samples s = decode_by_stb(changed.empty() ? bytes : changed, std::move(info), name, 0);
  if (s.info.sample_bits < 8) s.step = 255 / ((1 << s.info.sample_bits) - 1);
  if (palette) check_indices(s, name);
  return s;
}

Samples decode_jpeg_by_stb(std::span<const uint8_t> bytes, const std::string& name,
                           const DecodeLimits& limits, Use use) {
  return decode_checked_jpeg_by_stb(bytes, check_jpeg(bytes, name, limits), name, use);
}

Samples decode_checked_jpeg_by_stb(std::span<const uint8_t> bytes, ImageInfo info,
                                   const std::string& name, Use use) {
  std::vector<uint8_t> changed;
  if (info.no_end_marker) {
    changed.assign(bytes.begin(), bytes.end());
    changed.insert(changed.end(), {0xFF, 0xD9});
  }
  const int wanted = use == Use::gray && info.ycc ? 1 : 0;
  return decode_by_stb(changed.empty() ? bytes : changed, std::move(info), name, wanted);
}

}  // namespace thorax
