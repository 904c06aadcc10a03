// PNG files by their chunks, and edits of JPEG files, for what no encoder here writes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "data/container_check.h"

namespace thorax::test {

using Bytes = std::vector<uint8_t>;

inline void put32(Bytes& out, uint32_t v) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<uint8_t>(v >> shift));
}

inline Bytes chunk(const std::string& type, const Bytes& body) {
  Bytes out;
  out.reserve(body.size() + 64);
  put32(out, static_cast<uint32_t>(body.size()));
  for (const char c : type) out.push_back(static_cast<uint8_t>(c));
  out.insert(out.end(), body.begin(), body.end());
  put32(out, png_crc32({out.data() + 4, out.size() - 4}));
  return out;
}

inline Bytes header(uint32_t width, uint32_t height, int depth = 8, int color = 0,
                    int interlace = 0) {
  Bytes body;
  put32(body, width);
  put32(body, height);
  for (const int v : {depth, color, 0, 0, interlace}) body.push_back(static_cast<uint8_t>(v));
  return body;
}

// zlib stream of stored blocks (stb does not check Adler-32, so zeros will do).
inline Bytes stored(const Bytes& raw) {
  Bytes out = {0x78, 0x01};
  size_t at = 0;
  do {
    const size_t n = std::min<size_t>(65535, raw.size() - at);
    out.push_back(at + n == raw.size());
    for (const size_t v : {n, n ^ 0xFFFF}) {
      out.push_back(static_cast<uint8_t>(v & 255));
      out.push_back(static_cast<uint8_t>(v >> 8));
    }
    out.insert(out.end(), raw.begin() + static_cast<ptrdiff_t>(at),
               raw.begin() + static_cast<ptrdiff_t>(at + n));
    at += n;
  } while (at < raw.size());
  out.insert(out.end(), 4, 0);
  return out;
}

inline Bytes png(const std::vector<Bytes>& chunks) {
  Bytes out = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  for (const Bytes& c : chunks) out.insert(out.end(), c.begin(), c.end());
  return out;
}

// Rows of samples with a filter byte of 0 before each, as a PNG's data are.
template <class T>
Bytes png_rows(const std::vector<T>& samples, size_t row) {
  Bytes raw;
  for (size_t i = 0; i < samples.size(); ++i) {
    if (i % row == 0) raw.push_back(0);
    if (sizeof(T) == 2) raw.push_back(static_cast<uint8_t>(samples[i] >> 8));
    raw.push_back(static_cast<uint8_t>(samples[i] & 255));
  }
  return raw;
}

// A whole file; `extra` stands before the data.
template <class T>
Bytes png_file(uint32_t width, uint32_t height, int color, int channels,
               const std::vector<T>& samples, const std::vector<Bytes>& extra = {}) {
  std::vector<Bytes> chunks = {chunk("IHDR", header(width, height, 8 * sizeof(T), color))};
  chunks.insert(chunks.end(), extra.begin(), extra.end());
  chunks.push_back(chunk("IDAT", stored(png_rows(samples, width * static_cast<size_t>(channels)))));
  chunks.push_back(chunk("IEND", {}));
  return png(chunks);
}

// A TIFF structure with one entry: the orientation.
inline Bytes exif(int orientation, bool little = false) {
  const uint8_t value = static_cast<uint8_t>(orientation);
  if (little)
    return {'I', 'I', 42, 0, 8, 0,     0, 0, 1, 0, 0x12, 1, 3,
            0,   1,   0,  0, 0, value, 0, 0, 0, 0, 0,    0, 0};
  return {'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, value, 0, 0, 0, 0, 0, 0};
}

// The JPEG with a segment behind SOI.
inline Bytes with_segment(const Bytes& jpeg, uint8_t marker, const Bytes& content) {
  Bytes out(jpeg.begin(), jpeg.begin() + 2);
  const size_t length = content.size() + 2;
  out.insert(out.end(),
             {0xFF, marker, static_cast<uint8_t>(length >> 8), static_cast<uint8_t>(length & 255)});
  out.insert(out.end(), content.begin(), content.end());
  out.insert(out.end(), jpeg.begin() + 2, jpeg.end());
  return out;
}

inline Bytes with_exif(const Bytes& jpeg, int orientation, bool little = false) {
  Bytes content = {'E', 'x', 'i', 'f', 0, 0};
  const Bytes tiff = exif(orientation, little);
  content.insert(content.end(), tiff.begin(), tiff.end());
  return with_segment(jpeg, 0xE1, content);
}

}  // namespace thorax::test
