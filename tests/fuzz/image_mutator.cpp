#include "tests/fuzz/image_mutator.h"

#include <algorithm>
#include <random>

#include "data/container_check.h"

namespace thorax::fuzz {
namespace {

void append(Buffer& out, Bytes bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

std::uint32_t big32(Bytes b) {
  return std::uint32_t{b[0]} << 24 | std::uint32_t{b[1]} << 16 | std::uint32_t{b[2]} << 8 | b[3];
}

// One change of a list of pieces: plain within one, or of their order.
void change(std::vector<Buffer>& parts, std::minstd_rand& random, std::size_t max_bytes,
            const PlainMutation& plain) {
  if (parts.empty()) return;
  const std::size_t at = random() % parts.size(), kind = random() % 8;
  if (kind == 0 && parts.size() > 1) {
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(at));
  } else if (kind == 1) {
    parts.insert(parts.begin() + static_cast<std::ptrdiff_t>(random() % parts.size()),
                 Buffer(parts[at]));
  } else if (kind == 2) {
    std::swap(parts[at], parts[random() % parts.size()]);
  } else {
    plain(parts[at], std::max<std::size_t>(parts[at].size() + 32, max_bytes / 4));
  }
}

Buffer anything(Bytes input, std::size_t max_bytes, const PlainMutation& plain) {
  Buffer all(input.begin(), input.end());
  plain(all, max_bytes);
  return all;
}

}  // namespace

Buffer mutate_png(Bytes input, std::size_t max_bytes, unsigned seed, const PlainMutation& plain) {
  std::minstd_rand random(seed);
  constexpr std::size_t kSignature = 8, kFrame = 12;  // length, type and checksum of a chunk
  if (random() % 8 == 0 || input.size() < kSignature + kFrame)
    return anything(input, max_bytes, plain);
  std::vector<Buffer> chunks;  // type and body
  for (std::size_t at = kSignature; at + kFrame <= input.size();) {
    const std::size_t body =
        std::min<std::size_t>(big32(input.subspan(at, 4)), input.size() - at - kFrame);
    const Bytes chunk = input.subspan(at + 4, body + 4);
    chunks.emplace_back(chunk.begin(), chunk.end());
    at += body + kFrame;
  }
  change(chunks, random, max_bytes, plain);
  Buffer out(input.begin(), input.begin() + kSignature);
  const auto put32 = [&](std::uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8)
      out.push_back(static_cast<std::uint8_t>(value >> shift));
  };
  for (Buffer& chunk : chunks) {
    chunk.resize(std::max<std::size_t>(chunk.size(), 4));
    put32(static_cast<std::uint32_t>(chunk.size() - 4));
    append(out, chunk);
    put32(png_crc32(chunk));
  }
  return out;
}

Buffer mutate_jpeg(Bytes input, std::size_t max_bytes, unsigned seed, const PlainMutation& plain) {
  std::minstd_rand random(seed);
  if (random() % 8 == 0 || input.size() < 4) return anything(input, max_bytes, plain);
  // Marker segments with their lengths; what follows a scan's header is coded data up to the next
  // marker that is neither stuffing nor a restart.
  std::vector<Buffer> segments;
  std::size_t at = 2;
  while (at + 4 <= input.size()) {
    const std::size_t start = at;
    const std::size_t length = std::size_t{input[at + 2]} << 8 | input[at + 3];
    const bool scan = input[at + 1] == 0xDA;
    at = std::min(at + 2 + std::max<std::size_t>(length, 2), input.size());
    if (scan)
      while (at + 1 < input.size() &&
             !(input[at] == 0xFF && input[at + 1] != 0 && (input[at + 1] & 0xF8) != 0xD0))
        ++at;
    const Bytes segment = input.subspan(start, at - start);
    segments.emplace_back(segment.begin(), segment.end());
  }
  change(segments, random, max_bytes, plain);
  Buffer out = {0xFF, 0xD8};
  for (Buffer& segment : segments) {
    if (segment.size() < 4) continue;
    segment[0] = 0xFF;
    if (segment[1] != 0xDA) {
      segment[2] = static_cast<std::uint8_t>((segment.size() - 2) >> 8);
      segment[3] = static_cast<std::uint8_t>(segment.size() - 2);
    }
    append(out, segment);
  }
  append(out, std::vector<std::uint8_t>{0xFF, 0xD9});
  return out;
}

}  // namespace thorax::fuzz
