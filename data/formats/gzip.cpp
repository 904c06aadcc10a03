#include "data/formats/gzip.h"

#include <algorithm>

#include "data/container_check.h"
#include "data/stb_bridge.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

using Bytes = std::span<const uint8_t>;

uint32_t little32(Bytes b, size_t at) {
  return b[at] | uint32_t{b[at + 1]} << 8 | uint32_t{b[at + 2]} << 16 | uint32_t{b[at + 3]} << 24;
}

// Where the compressed data begin; the size of `b` where the header is cut short.
size_t data_begin(Bytes b) {
  constexpr int kHeaderChecksum = 2, kExtra = 4, kName = 8, kComment = 16;
  const int flags = b[3];
  size_t at = 10;
  if ((flags & kExtra) != 0) {
    if (at + 2 > b.size()) return b.size();
    at += 2 + (b[at] | size_t{b[at + 1]} << 8);
  }
  for (const int text : {kName, kComment})
    if ((flags & text) != 0) {
      while (at < b.size() && b[at] != 0) ++at;
      ++at;
    }
  if ((flags & kHeaderChecksum) != 0) at += 2;
  return std::min(at, b.size());
}

}  // namespace

bool is_gzip(Bytes bytes) {
  return bytes.size() >= 18 && bytes[0] == 0x1F && bytes[1] == 0x8B && bytes[2] == 8;
}

std::vector<uint8_t> gunzip_head(Bytes bytes, size_t size) {
  // Room for the longest match behind: stb writes one whole or not at all.
  std::vector<uint8_t> out(size + 258);
  stb_inflate(bytes.subspan(data_begin(bytes)), out);
  out.resize(size);
  return out;
}

std::vector<uint8_t> gunzip(Bytes bytes, const std::string& name, uint64_t max_bytes) {
  const size_t begin = data_begin(bytes);
  THORAX_CHECK(begin + 8 < bytes.size(), "[decode] {}: truncated gzip: only {} bytes", name,
               bytes.size());
  const Bytes packed = bytes.subspan(begin, bytes.size() - begin - 8);
  const uint32_t checksum = little32(bytes, bytes.size() - 8),
                 length = little32(bytes, bytes.size() - 4);
  THORAX_CHECK(length <= max_bytes,
               "[decode] {}: gzip of {} bytes, the limit is {}; its last four bytes say so, which "
               "are others where the file was cut short",
               name, length, max_bytes);
  // Deflate packs at most 258 bytes into two bits.
  THORAX_CHECK(length / 1032 <= packed.size(),
               "[decode] {}: corrupt gzip: {} bytes cannot hold {}; perhaps it was cut short", name,
               packed.size(), length);
  std::vector<uint8_t> out(length);
  const int64_t made = stb_inflate(bytes.subspan(begin), out);
  THORAX_CHECK(
      made == int64_t{length} && png_crc32(out) == checksum,
      "[decode] {}: corrupt or truncated gzip: length and checksum at its end are not those "
      "of its data (files of several members are not read)",
      name);
  return out;
}

std::vector<uint8_t> gzip(const std::vector<uint8_t>& bytes) {
  std::vector<uint8_t> out = {0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255};
  const std::vector<uint8_t> zlib = stb_zlib(bytes);  // 2 bytes, the data, Adler-32
  THORAX_CHECK(zlib.size() > 6, "[encode] gzip of {} bytes failed", bytes.size());
  out.insert(out.end(), zlib.begin() + 2, zlib.end() - 4);
  for (const uint32_t v : {png_crc32(bytes), static_cast<uint32_t>(bytes.size())})
    for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<uint8_t>(v >> shift));
  return out;
}

}  // namespace thorax
