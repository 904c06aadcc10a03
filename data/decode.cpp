#include "data/decode.h"

#include <cstddef>
#include <vector>

#include "data/stb_bridge.h"
#include "engine/io/atomic_file.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

namespace fs = std::filesystem;

// What stb returned, before it becomes float.
struct Samples {
  ImageInfo info;
  int channels = 0;
  StbPixels pixels;
};

Samples decode_samples(std::span<const uint8_t> bytes, const std::string& name,
                       const DecodeLimits& limits) {
  Samples s;
  s.info = check_container(bytes, name, limits);
  int width = 0, height = 0;
  std::string reason;
  s.pixels = stb_decode(bytes, s.info, width, height, s.channels, reason);
  THORAX_CHECK(s.pixels, "[decode] {}: corrupt {}: {}", name, s.info.format, reason);
  THORAX_CHECK(
      width == s.info.width && height == s.info.height && s.channels >= 1 && s.channels <= 4,
      "[decode] {}: header says {}x{}, decoder made {}x{}x{}", name, s.info.width, s.info.height,
      width, height, s.channels);
  return s;
}

template <class T>
Image convert(const T* from, const ImageInfo& info, int channels, bool gray, float top) {
  const int color = channels >= 3 ? 3 : 1;
  const bool alpha = channels == 2 || channels == 4;
  const size_t n = static_cast<size_t>(info.height) * info.width;
  Image out(info.height, info.width, gray ? 1 : color);
  float* to = out.pixels.data();
  for (size_t i = 0; i < n; ++i, from += channels) {
    const float a = alpha ? static_cast<float>(from[color]) / top : 1.f;
    float v[3];
    for (int c = 0; c < color; ++c) {
      v[c] = static_cast<float>(from[c]) / top;
      if (alpha) v[c] *= a;
    }
    if (color == 1)
      *to++ = v[0];
    else if (gray)
      *to++ = v[1] + 0.299f * (v[0] - v[1]) + 0.114f * (v[2] - v[1]);  // as to_gray
    else
      for (int c = 0; c < 3; ++c) *to++ = v[c];
  }
  return out;
}

Image decode_as(std::span<const uint8_t> bytes, const std::string& name, const DecodeLimits& limits,
                bool gray) {
  const Samples s = decode_samples(bytes, name, limits);
  if (s.info.bits == 16)
    return convert(static_cast<const uint16_t*>(s.pixels.get()), s.info, s.channels, gray, 65535.f);
  return convert(static_cast<const uint8_t*>(s.pixels.get()), s.info, s.channels, gray, 255.f);
}

std::vector<std::byte> read_image_file(const fs::path& path, const DecodeLimits& limits) {
  return read_bytes(path, static_cast<uint64_t>(limits.max_file_bytes));
}

std::span<const uint8_t> as_u8(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
}

}  // namespace

ImageInfo read_image_info(const fs::path& path, const DecodeLimits& limits) {
  return check_container(as_u8(read_image_file(path, limits)), path.string(), limits);
}

Image decode_image(std::span<const uint8_t> bytes, const std::string& name,
                   const DecodeLimits& limits) {
  return decode_as(bytes, name, limits, false);
}

Image decode_gray(std::span<const uint8_t> bytes, const std::string& name,
                  const DecodeLimits& limits) {
  return decode_as(bytes, name, limits, true);
}

Image load_image(const fs::path& path, const DecodeLimits& limits) {
  return decode_image(as_u8(read_image_file(path, limits)), path.string(), limits);
}

Image load_gray(const fs::path& path, const DecodeLimits& limits) {
  return decode_gray(as_u8(read_image_file(path, limits)), path.string(), limits);
}

ImageU8 load_mask(const fs::path& path, const DecodeLimits& limits) {
  const Image gray = load_gray(path, limits);
  ImageU8 mask(gray.height, gray.width, 1);
  for (size_t i = 0; i < mask.pixels.size(); ++i) mask.pixels[i] = gray.pixels[i] >= 0.5f ? 255 : 0;
  return mask;
}

}  // namespace thorax
