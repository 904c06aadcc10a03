#include "data/formats/dicom/rle.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/tensor/error.h"

namespace thorax::dicom {
namespace {

constexpr size_t kHeader = 64;  // the number of segments and 15 offsets

size_t u32(std::span<const uint8_t> b, size_t at) {
  return b[at] | size_t{b[at + 1]} << 8 | size_t{b[at + 2]} << 16 | size_t{b[at + 3]} << 24;
}

}  // namespace

std::vector<uint8_t> decode_rle(std::span<const uint8_t> frame, int planes, size_t pixels,
                                const std::string& name) {
  THORAX_CHECK(frame.size() >= kHeader, "[decode] {}: truncated RLE: a frame of {} bytes", name,
               frame.size());
  THORAX_CHECK(u32(frame, 0) == static_cast<size_t>(planes),
               "[decode] {}: corrupt RLE: {} segments, the header's pixels have {}", name,
               u32(frame, 0), planes);
  std::vector<uint8_t> out;
  out.reserve(pixels * static_cast<size_t>(planes));
  for (int plane = 0; plane < planes; ++plane) {
    size_t at = u32(frame, 4 + 4 * static_cast<size_t>(plane));
    const size_t end =
        plane + 1 < planes ? u32(frame, 8 + 4 * static_cast<size_t>(plane)) : frame.size();
    THORAX_CHECK(at >= kHeader && at <= end && end <= frame.size(),
                 "[decode] {}: corrupt RLE: segment {} is said to be bytes {} to {} of {}", name,
                 plane + 1, at, end, frame.size());
    const size_t wanted = out.size() + pixels;
    while (out.size() < wanted) {
      const bool more = at < end;
      const int code = more ? static_cast<int8_t>(frame[at]) : 0;
      ++at;
      if (more && code == -128) continue;
      const size_t count = static_cast<size_t>(code >= 0 ? code + 1 : 1 - code);
      const size_t bytes = code >= 0 ? count : 1;
      THORAX_CHECK(more && at + bytes <= end,
                   "[decode] {}: truncated RLE: segment {} ends after {} of {} bytes", name,
                   plane + 1, out.size() + pixels - wanted, pixels);
      THORAX_CHECK(count <= wanted - out.size(),
                   "[decode] {}: corrupt RLE: segment {} makes more than {} bytes", name, plane + 1,
                   pixels);
      if (code >= 0)
        out.insert(out.end(), frame.begin() + static_cast<ptrdiff_t>(at),
                   frame.begin() + static_cast<ptrdiff_t>(at + count));
      else
        out.insert(out.end(), count, frame[at]);
      at += bytes;
    }
  }
  return out;
}

}  // namespace thorax::dicom
