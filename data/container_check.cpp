#include "data/container_check.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "engine/tensor/error.h"

namespace thorax {
namespace {

using Bytes = std::span<const uint8_t>;

uint32_t big32(Bytes b, size_t at) {
  return uint32_t{b[at]} << 24 | uint32_t{b[at + 1]} << 16 | uint32_t{b[at + 2]} << 8 | b[at + 3];
}
int big16(Bytes b, size_t at) {
  return b[at] << 8 | b[at + 1];
}

// Four tables (slicing by 4): plain byte-wise CRC would cost more than the decoding of small PNGs.
constexpr auto make_crc_tables() {
  std::array<std::array<uint32_t, 256>, 4> t{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t c = i;
    for (int k = 0; k < 8; ++k) c = (c & 1) ? 0xEDB88320u ^ (c >> 1) : c >> 1;
    t[0][i] = c;
  }
  for (uint32_t i = 0; i < 256; ++i)
    for (int k = 1; k < 4; ++k) t[k][i] = (t[k - 1][i] >> 8) ^ t[0][t[k - 1][i] & 255];
  return t;
}
constexpr auto kCrc = make_crc_tables();

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
  info.channels = color == 0 ? 1 : color == 4 ? 2 : color == 6 ? 4 : 3;
}

ImageInfo check_png(Bytes b, const std::string& name, const DecodeLimits& limits) {
  ImageInfo info;
  info.format = "png";
  info.file_bytes = static_cast<int64_t>(b.size());
  bool have_palette = false, have_data = false, palette_color = false;
  size_t at = 8;
  for (int index = 0;; ++index) {
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
    THORAX_CHECK(stored == computed, "[decode] {}: png chunk {} at byte {} has a wrong checksum",
                 name, type, at);
    if (index == 0) {
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
    } else if (type == "tRNS") {
      if (palette_color)
        info.channels = 4;
      else if (info.channels == 1 || info.channels == 3)
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

// A frame header (SOF): precision, size and component factors, all of which size stb's buffers.
void read_jpeg_frame(Bytes b, size_t at, int length, int marker, const std::string& name,
                     const DecodeLimits& limits, ImageInfo& info) {
  THORAX_CHECK(marker <= 0xC2,
               "[decode] {}: jpeg coding SOF{} (lossless or arithmetic) is not supported", name,
               marker - 0xC0);
  THORAX_CHECK(length >= 8, "[decode] {}: jpeg frame header is too short", name);
  THORAX_CHECK(info.width == 0, "[decode] {}: jpeg has two frame headers", name);
  THORAX_CHECK(b[at + 2] == 8, "[decode] {}: jpeg with {} bits a sample is not supported", name,
               b[at + 2]);
  info.height = big16(b, at + 3);
  info.width = big16(b, at + 5);
  info.channels = b[at + 7];
  check_size(info, name, limits);
  THORAX_CHECK((info.channels == 1 || info.channels == 3 || info.channels == 4) &&
                   length == 8 + 3 * info.channels,
               "[decode] {}: jpeg with {} components and a frame header of {} bytes", name,
               info.channels, length);
  for (int c = 0; c < info.channels; ++c) {
    const int h = b[at + 9 + 3 * c] >> 4, v = b[at + 9 + 3 * c] & 15, q = b[at + 10 + 3 * c];
    THORAX_CHECK(h >= 1 && h <= 4 && v >= 1 && v <= 4 && q <= 3,
                 "[decode] {}: jpeg component {} has sampling {}x{} and quantizer {}", name, c, h,
                 v, q);
  }
}

// stb 2.27 writes past its tables when the 16 code counts of a Huffman table add up to more than
// 256.
void check_huffman_tables(Bytes segment, const std::string& name) {
  while (!segment.empty()) {
    THORAX_CHECK(segment.size() >= 17, "[decode] {}: jpeg Huffman table is cut short", name);
    int values = 0;
    for (int i = 1; i <= 16; ++i) values += segment[i];
    THORAX_CHECK((segment[0] >> 4) <= 1 && (segment[0] & 15) <= 3 && values <= 256 &&
                     segment.size() >= static_cast<size_t>(17 + values),
                 "[decode] {}: jpeg Huffman table {:02X} has {} values", name, segment[0], values);
    segment = segment.subspan(static_cast<size_t>(17 + values));
  }
}

ImageInfo check_jpeg(Bytes b, const std::string& name, const DecodeLimits& limits) {
  // A progressive file has about ten scans; each one costs a pass over the image, so a file with
  // thousands would keep a decoder busy for hours.
  constexpr int kMaxScans = 256;
  ImageInfo info;
  info.format = "jpeg";
  info.file_bytes = static_cast<int64_t>(b.size());
  int scans = 0;
  size_t at = 2;
  for (;;) {
    while (at < b.size() && b[at] == 0xFF && at + 1 < b.size() && b[at + 1] == 0xFF) ++at;  // fill
    THORAX_CHECK(at + 2 <= b.size(), "[decode] {}: truncated jpeg: ends at byte {} without EOI",
                 name, b.size());
    THORAX_CHECK(b[at] == 0xFF, "[decode] {}: jpeg marker expected at byte {}", name, at);
    const int marker = b[at + 1];
    at += 2;
    if (marker == 0xD9) break;
    if ((marker >= 0xD0 && marker <= 0xD7) || marker == 0x01) continue;  // no length follows
    THORAX_CHECK(marker != 0xD8 && marker != 0x00, "[decode] {}: jpeg marker {:02X} at byte {}",
                 name, marker, at - 2);
    THORAX_CHECK(at + 2 <= b.size(), "[decode] {}: truncated jpeg: ends at byte {} without EOI",
                 name, b.size());
    const int length = big16(b, at);
    THORAX_CHECK(
        length >= 2 && static_cast<size_t>(length) <= b.size() - at,
        "[decode] {}: truncated jpeg: segment {:02X} at byte {} claims {} bytes, {} are left", name,
        marker, at - 2, length, b.size() - at);
    const bool frame =
        marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
    if (frame) read_jpeg_frame(b, at, length, marker, name, limits, info);
    if (marker == 0xC4)
      check_huffman_tables(b.subspan(at + 2, static_cast<size_t>(length) - 2), name);
    at += length;
    if (marker != 0xDA) continue;
    THORAX_CHECK(info.width > 0, "[decode] {}: jpeg scan before the frame header", name);
    THORAX_CHECK(++scans <= kMaxScans, "[decode] {}: jpeg has more than {} scans", name, kMaxScans);
    // Entropy-coded data runs to the next FF that is neither a stuffed 00 nor a restart marker.
    for (;; ++at) {
      const void* found = at < b.size() ? std::memchr(b.data() + at, 0xFF, b.size() - at) : nullptr;
      THORAX_CHECK(found, "[decode] {}: truncated jpeg: ends at byte {} without EOI", name,
                   b.size());
      at = static_cast<size_t>(static_cast<const uint8_t*>(found) - b.data());
      THORAX_CHECK(at + 1 < b.size(), "[decode] {}: truncated jpeg: ends at byte {} without EOI",
                   name, b.size());
      const int next = b[at + 1];
      if (next == 0xFF) continue;
      if (next != 0x00 && !(next >= 0xD0 && next <= 0xD7)) break;
    }
  }
  THORAX_CHECK(scans > 0, "[decode] {}: jpeg has no image data", name);
  return info;
}

}  // namespace

uint32_t png_crc32(std::span<const uint8_t> bytes) {
  uint32_t c = 0xFFFFFFFFu;
  size_t i = 0;
  for (; i + 4 <= bytes.size(); i += 4) {
    uint32_t word;
    std::memcpy(&word, bytes.data() + i, 4);
    c ^= word;
    c = kCrc[3][c & 255] ^ kCrc[2][(c >> 8) & 255] ^ kCrc[1][(c >> 16) & 255] ^ kCrc[0][c >> 24];
  }
  for (; i < bytes.size(); ++i) c = kCrc[0][(c ^ bytes[i]) & 255] ^ (c >> 8);
  return c ^ 0xFFFFFFFFu;
}

ImageInfo check_container(std::span<const uint8_t> bytes, const std::string& name,
                          const DecodeLimits& limits) {
  static constexpr uint8_t kPng[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  THORAX_CHECK(!bytes.empty(), "[decode] {}: file is empty", name);
  THORAX_CHECK(static_cast<int64_t>(bytes.size()) <= limits.max_file_bytes,
               "[decode] {}: file has {} bytes, the limit is {}", name, bytes.size(),
               limits.max_file_bytes);
  const size_t common = std::min<size_t>(bytes.size(), 8);
  if (std::equal(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(common), kPng)) {
    THORAX_CHECK(bytes.size() >= 8 + 25, "[decode] {}: truncated png: only {} bytes", name,
                 bytes.size());
    return check_png(bytes, name, limits);
  }
  if (bytes[0] == 0xFF && (bytes.size() == 1 || bytes[1] == 0xD8)) {
    THORAX_CHECK(bytes.size() >= 4, "[decode] {}: truncated jpeg: only {} bytes", name,
                 bytes.size());
    return check_jpeg(bytes, name, limits);
  }
  fail("[decode] {}: neither JPEG nor PNG (first bytes {:02X} {:02X})", name, bytes[0],
       bytes.size() > 1 ? bytes[1] : 0);
}

}  // namespace thorax
