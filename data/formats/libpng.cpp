#include "data/formats/libpng.h"

#ifndef THORAX_PNG

namespace thorax {
std::string png_writer() {
  return {};
}
std::vector<uint8_t> libpng_encode(const void*, int, int, int, int) {
  return {};
}
}  // namespace thorax

#else

#include <png.h>

#include <bit>
#include <csetjmp>
#include <new>

namespace thorax {
namespace {

[[noreturn]] void leave(png_structp png, png_const_charp) {
  png_longjmp(png, 1);
}
void say_nothing(png_structp, png_const_charp) {}

void write_bytes(png_structp png, png_bytep from, size_t n) {
  auto* out = static_cast<std::vector<uint8_t>*>(png_get_io_ptr(png));
  bool stored = true;
  try {
    out->insert(out->end(), from, from + n);
  } catch (const std::bad_alloc&) {
    stored = false;  // no exception may cross libpng
  }
  if (!stored) png_error(png, "out of memory");
}
void flush_nothing(png_structp) {}

constexpr int kRunLengths = 3;  // Z_RLE of zlib

bool encode(const uint8_t* pixels, int height, int width, int channels, int bits,
            std::vector<uint8_t>& out) {
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, leave, say_nothing);
  png_infop info = png ? png_create_info_struct(png) : nullptr;
  if (!info || setjmp(png_jmpbuf(png))) {
    png_destroy_write_struct(&png, &info);
    return false;
  }
  png_set_write_fn(png, &out, write_bytes, flush_nothing);
  png_set_IHDR(png, info, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height), bits,
               channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  // Neighbours of a radiograph differ little: what the filters leave are short numbers, in which
  // runs are worth finding and longer matches are not. Smaller and faster than any other setting.
  png_set_filter(png, PNG_FILTER_TYPE_BASE, PNG_ALL_FILTERS);
  png_set_compression_strategy(png, kRunLengths);
  png_write_info(png, info);
  if (bits == 16 && std::endian::native == std::endian::little) png_set_swap(png);
  const size_t row =
      static_cast<size_t>(width) * static_cast<size_t>(channels) * static_cast<size_t>(bits / 8);
  for (int y = 0; y < height; ++y) png_write_row(png, pixels + static_cast<size_t>(y) * row);
  png_write_end(png, nullptr);
  png_destroy_write_struct(&png, &info);
  return true;
}

}  // namespace

std::string png_writer() {
  return "libpng " PNG_LIBPNG_VER_STRING;
}

std::vector<uint8_t> libpng_encode(const void* pixels, int height, int width, int channels,
                                   int bits) {
  std::vector<uint8_t> out;
  if (!encode(static_cast<const uint8_t*>(pixels), height, width, channels, bits, out)) out.clear();
  return out;
}

}  // namespace thorax

#endif
