#include "data/decode_samples.h"

#include <algorithm>
#include <cstring>

#include "engine/io/atomic_file.h"
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

void check_indices(const Samples& s, const std::string& name) {
  const size_t colours = s.info.palette.size() / 3;
  const uint8_t* first = s.u8();
  const uint8_t* worst = std::max_element(first, first + s.count());
  const auto place = static_cast<size_t>(worst - first);
  THORAX_CHECK(static_cast<size_t>(*worst / s.step) < colours,
               "[decode] {}: corrupt png: the pixel in row {}, column {} has palette index {}, the "
               "palette has {} colours",
               name, place / static_cast<size_t>(s.info.width),
               place % static_cast<size_t>(s.info.width), *worst / s.step, colours);
}

}  // namespace

Samples decode_samples(std::span<const uint8_t> bytes, const std::string& name,
                       const DecodeLimits& limits, bool luma) {
  Samples s;
  s.info = check_container(bytes, name, limits);
  const bool palette = !s.info.palette.empty();
  std::vector<uint8_t> changed;
  if (palette) {
    changed = as_gray(bytes);
  } else if (s.info.no_end_marker) {
    changed.assign(bytes.begin(), bytes.end());
    changed.insert(changed.end(), {0xFF, 0xD9});
  }
  int width = 0, height = 0;
  std::string reason;
  s.pixels = stb_decode(changed.empty() ? bytes : changed, s.info, width, height, s.channels,
                        reason, luma && s.info.ycc ? 1 : 0);
  THORAX_CHECK(s.pixels, "[decode] {}: corrupt {}: {}", name, s.info.format, reason);
  THORAX_CHECK(
      width == s.info.width && height == s.info.height && s.channels >= 1 && s.channels <= 4,
      "[decode] {}: header says {}x{}, decoder made {}x{}x{}", name, s.info.width, s.info.height,
      width, height, s.channels);
  if (s.info.sample_bits < 8) s.step = 255 / ((1 << s.info.sample_bits) - 1);
  if (palette) check_indices(s, name);
  return s;
}

std::vector<std::byte> read_image_file(const std::filesystem::path& path,
                                       const DecodeLimits& limits) {
  return read_bytes(path, static_cast<uint64_t>(limits.max_file_bytes));
}

}  // namespace thorax
