#include "data/encode.h"

#include <algorithm>
#include <cctype>
#include <span>
#include <string>

#include "data/container_check.h"
#include "data/formats/libpng.h"
#include "data/stb_bridge.h"
#include "engine/io/atomic_file.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

template <class T>
void check_encodable(const Raster<T>& image) {
  THORAX_CHECK(image.height > 0 && image.width > 0 && (image.channels == 1 || image.channels == 3),
               "[encode] {}x{}x{}: PNG and JPEG want a size above zero and 1 or 3 channels",
               image.height, image.width, image.channels);
}

void put32(std::vector<uint8_t>& out, uint32_t v) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<uint8_t>(v >> shift));
}

void put_chunk(std::vector<uint8_t>& out, const char* type, const std::vector<uint8_t>& body) {
  put32(out, static_cast<uint32_t>(body.size()));
  const size_t start = out.size();
  out.insert(out.end(), type, type + 4);
  out.insert(out.end(), body.begin(), body.end());
  put32(out, png_crc32({out.data() + start, out.size() - start}));
}

std::vector<uint8_t> encode_by_extension(const std::filesystem::path& path, const ImageU8& image) {
  std::string ext = path.extension().string();
  std::transform(ext.begin(), ext.end(), ext.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  if (ext == ".png") return encode_png(image);
  if (ext == ".jpg" || ext == ".jpeg") return encode_jpeg(image);
  fail("[encode] {}: extension must be .png, .jpg or .jpeg", path.string());
}

}  // namespace

std::vector<uint8_t> encode_png(const ImageU8& image) {
  check_encodable(image);
  std::vector<uint8_t> by_libpng =
      libpng_encode(image.pixels.data(), image.height, image.width, image.channels, 8);
  if (!by_libpng.empty()) return by_libpng;
  auto out = stb_encode_png(image.pixels.data(), image.height, image.width, image.channels);
  THORAX_CHECK(!out.empty(), "[encode] PNG of {}x{}x{} failed", image.height, image.width,
               image.channels);
  return out;
}

std::vector<uint8_t> encode_jpeg(const ImageU8& image, int quality) {
  check_encodable(image);
  THORAX_CHECK(quality >= 1 && quality <= 100, "[encode] JPEG quality {} is not in 1..100",
               quality);
  auto out =
      stb_encode_jpeg(image.pixels.data(), image.height, image.width, image.channels, quality);
  THORAX_CHECK(!out.empty(), "[encode] JPEG of {}x{}x{} failed", image.height, image.width,
               image.channels);
  return out;
}

// stb writes 8 bits only; a PNG of 16 is the same container with big-endian samples.
std::vector<uint8_t> encode_png(const ImageU16& image) {
  check_encodable(image);
  std::vector<uint8_t> by_libpng =
      libpng_encode(image.pixels.data(), image.height, image.width, image.channels, 16);
  if (!by_libpng.empty()) return by_libpng;
  std::vector<uint8_t> raw;
  const size_t row_samples = static_cast<size_t>(image.width) * image.channels;
  raw.reserve((row_samples * 2 + 1) * image.height);
  for (int y = 0; y < image.height; ++y) {
    raw.push_back(0);  // filter: none
    for (size_t i = 0; i < row_samples; ++i) {
      raw.push_back(static_cast<uint8_t>(image.row(y)[i] >> 8));
      raw.push_back(static_cast<uint8_t>(image.row(y)[i] & 255));
    }
  }
  std::vector<uint8_t> out = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  std::vector<uint8_t> header;
  put32(header, static_cast<uint32_t>(image.width));
  put32(header, static_cast<uint32_t>(image.height));
  const uint8_t color = image.channels == 1 ? 0 : 2;
  header.insert(header.end(), {16, color, 0, 0, 0});
  put_chunk(out, "IHDR", header);
  const auto packed = stb_zlib(raw);
  THORAX_CHECK(!packed.empty(), "[encode] PNG of {}x{}x{} failed", image.height, image.width,
               image.channels);
  put_chunk(out, "IDAT", packed);
  put_chunk(out, "IEND", {});
  return out;
}

void save_image(const std::filesystem::path& path, const ImageU8& image) {
  const std::vector<uint8_t> bytes = encode_by_extension(path, image);
  atomic_write(path, std::as_bytes(std::span(bytes)));
}

void save_image(const std::filesystem::path& path, const Image& image) {
  save_image(path, to_u8(image));
}

}  // namespace thorax
