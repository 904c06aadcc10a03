#include "data/decode_jpeg.h"

#include <array>
#include <cstring>

#include "data/decode_jpeg_scans.h"
#include "data/image_orientation.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

using Bytes = std::span<const uint8_t>;

int big16(Bytes b, size_t at) {
  return b[at] << 8 | b[at + 1];
}

// What decides how components become colours.
struct ColorMarks {
  bool jfif = false;
  int adobe_transform = -1;  // -1: no Adobe marker
  bool rgb_names = false;    // the components are called 'R', 'G', 'B'
};

// A frame header (SOF): precision, size and component factors, all of which size stb's buffers.
// `segment` begins behind the marker.
void read_frame(Bytes segment, int marker, const std::string& name, const DecodeLimits& limits,
                ImageInfo& info, ColorMarks& marks, JpegScans& scans) {
  THORAX_CHECK(marker <= 0xC2,
               "[decode] {}: jpeg coding SOF{} (lossless or arithmetic) is not supported", name,
               marker - 0xC0);
  THORAX_CHECK(segment.size() >= 8, "[decode] {}: jpeg frame header is too short", name);
  THORAX_CHECK(info.width == 0, "[decode] {}: jpeg has two frame headers", name);
  THORAX_CHECK(segment[2] == 8, "[decode] {}: jpeg with {} bits a sample is not supported", name,
               segment[2]);
  info.height = big16(segment, 3);
  info.width = big16(segment, 5);
  info.channels = segment[7];
  check_size(info, name, limits);
  THORAX_CHECK((info.channels == 1 || info.channels == 3 || info.channels == 4) &&
                   segment.size() == static_cast<size_t>(8 + 3 * info.channels),
               "[decode] {}: jpeg with {} components and a frame header of {} bytes", name,
               info.channels, segment.size());
  std::vector<JpegComponent> components;
  for (int c = 0; c < info.channels; ++c) {
    const uint8_t* p = segment.data() + 8 + 3 * c;
    const int h = p[1] >> 4, v = p[1] & 15, q = p[2];
    THORAX_CHECK(h >= 1 && h <= 4 && v >= 1 && v <= 4 && q <= 3,
                 "[decode] {}: jpeg component {} has sampling {}x{} and quantizer {}", name, c, h,
                 v, q);
    components.push_back({p[0], h, v});
  }
  marks.rgb_names = info.channels == 3 && components[0].id == 'R' && components[1].id == 'G' &&
                    components[2].id == 'B';
  scans.frame(info.height, info.width, std::move(components), marker == 0xC2);
}

// APP0, APP1 and APP14: colour coding and orientation.
void read_application_segment(Bytes segment, int marker, ColorMarks& marks, ImageInfo& info) {
  const auto begins = [&](const char* text, size_t n) {
    return segment.size() >= n && std::memcmp(segment.data(), text, n) == 0;
  };
  if (marker == 0xE0 && begins("JFIF\0", 5)) marks.jfif = true;
  if (marker == 0xEE && begins("Adobe", 5) && segment.size() >= 12)
    marks.adobe_transform = segment[11];
  if (marker == 0xE1 && begins("Exif\0\0", 6))
    info.orientation = exif_orientation(segment.subspan(6));
}

void check_color(const ImageInfo& info, const ColorMarks& marks, const std::string& name) {
  if (info.channels != 4) return;
  THORAX_CHECK(marks.adobe_transform >= 0,
               "[decode] {}: jpeg has four components and no Adobe marker, so that nothing says "
               "whether they are CMYK, inverted CMYK or YCCK; save it as gray",
               name);
  THORAX_CHECK(marks.adobe_transform == 0 || marks.adobe_transform == 2,
               "[decode] {}: jpeg has four components and an Adobe marker with transform {}; known "
               "are 0 (CMYK) and 2 (YCCK); save it as gray",
               name, marks.adobe_transform);
}

}  // namespace

ImageInfo check_jpeg(Bytes b, const std::string& name, const DecodeLimits& limits) {
  // A progressive file has about ten scans; each one costs a pass over the image, so a file with
  // thousands would keep a decoder busy for hours.
  constexpr int kMaxScans = 256;
  THORAX_CHECK(b.size() >= 4, "[decode] {}: truncated jpeg: only {} bytes", name, b.size());
  ImageInfo info;
  info.format = "jpeg";
  info.lossy = true;
  info.file_bytes = static_cast<int64_t>(b.size());
  ColorMarks marks;
  JpegScans scans(name);
  int count = 0;
  size_t at = 2;
  for (;;) {
    while (at < b.size() && b[at] == 0xFF && at + 1 < b.size() && b[at + 1] == 0xFF) ++at;  // fill
    // All blocks are there and only EOI is missing, or half of it.
    if (count > 0 && b.size() - at < 2 && scans.complete()) {
      info.no_end_marker = true;
      info.notes.emplace_back("the end marker is missing, all pixels are there");
      break;
    }
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
    const Bytes segment = b.subspan(at + 2, static_cast<size_t>(length) - 2);
    at += static_cast<size_t>(length);
    if (marker == 0xC4) {
      scans.huffman_tables(segment);
    } else if (marker == 0xDD) {
      THORAX_CHECK(segment.size() == 2, "[decode] {}: jpeg restart interval of {} bytes", name,
                   segment.size());
      scans.restart_interval(big16(segment, 0));
    } else if (marker >= 0xC0 && marker <= 0xCF && marker != 0xC8 && marker != 0xCC) {
      read_frame(b.subspan(at - static_cast<size_t>(length), static_cast<size_t>(length)), marker,
                 name, limits, info, marks, scans);
    } else if (marker >= 0xE0 && marker <= 0xEF) {
      read_application_segment(segment, marker, marks, info);
    } else if (marker == 0xDA) {
      THORAX_CHECK(info.width > 0, "[decode] {}: jpeg scan before the frame header", name);
      THORAX_CHECK(++count <= kMaxScans, "[decode] {}: jpeg has more than {} scans", name,
                   kMaxScans);
      at += scans.scan(segment, b.subspan(at));
    }
  }
  THORAX_CHECK(count > 0, "[decode] {}: jpeg has no image data", name);
  scans.require_complete();
  check_color(info, marks, name);
  info.ycc = info.channels == 3 && !marks.rgb_names && (marks.adobe_transform != 0 || marks.jfif);
  return info;
}

}  // namespace thorax
