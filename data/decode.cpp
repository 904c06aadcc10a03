#include "data/decode.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "data/stb_bridge.h"
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

struct FileClose {
  void operator()(std::FILE* f) const { std::fclose(f); }
};

}  // namespace

std::vector<uint8_t> read_file(const fs::path& path, int64_t max_bytes) {
  std::error_code code;
  const fs::file_status status = fs::status(path, code);
  THORAX_CHECK(fs::exists(status), "[decode] {}: no such file", path.string());
  THORAX_CHECK(fs::is_regular_file(status), "[decode] {}: not a regular file", path.string());
  const uintmax_t size = fs::file_size(path, code);
  THORAX_CHECK(!code, "[decode] {}: {}", path.string(), code.message());
  THORAX_CHECK(size <= static_cast<uintmax_t>(max_bytes),
               "[decode] {}: file has {} bytes, the limit is {}", path.string(), size, max_bytes);
  std::unique_ptr<std::FILE, FileClose> file(std::fopen(path.c_str(), "rb"));
  THORAX_CHECK(file, "[decode] {}: {}", path.string(), std::strerror(errno));
  std::vector<uint8_t> bytes(size);
  const size_t got = size ? std::fread(bytes.data(), 1, bytes.size(), file.get()) : 0;
  THORAX_CHECK(got == bytes.size(), "[decode] {}: read {} of {} bytes", path.string(), got,
               bytes.size());
  return bytes;
}

ImageInfo read_image_info(const fs::path& path, const DecodeLimits& limits) {
  return check_container(read_file(path, limits.max_file_bytes), path.string(), limits);
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
  return decode_image(read_file(path, limits.max_file_bytes), path.string(), limits);
}

Image load_gray(const fs::path& path, const DecodeLimits& limits) {
  return decode_gray(read_file(path, limits.max_file_bytes), path.string(), limits);
}

ImageU8 load_mask(const fs::path& path, const DecodeLimits& limits) {
  const Image gray = load_gray(path, limits);
  ImageU8 mask(gray.height, gray.width, 1);
  for (size_t i = 0; i < mask.pixels.size(); ++i) mask.pixels[i] = gray.pixels[i] >= 0.5f ? 255 : 0;
  return mask;
}

}  // namespace thorax
