#include "data/formats/turbo.h"

#include "data/formats/stb.h"

#ifndef THORAX_JPEG

namespace thorax {
std::string turbo_reader() {
  return {};
}
Samples decode_jpeg_by_turbo(std::span<const uint8_t> bytes, const std::string& name,
                             const DecodeLimits& limits, Use use) {
  return decode_jpeg_by_stb(bytes, name, limits, use);
}
}  // namespace thorax

#else

#include <fmt/format.h>

#include <csetjmp>
#include <cstdio>
#include <vector>

#include <jpeglib.h>

#include "data/decode_jpeg.h"

namespace thorax {
namespace {

struct ErrorManager {
  jpeg_error_mgr base;
  std::jmp_buf jump;
};
[[noreturn]] void leave(j_common_ptr info) {
  std::longjmp(reinterpret_cast<ErrorManager*>(info->err)->jump, 1);
}
// Warnings are counted in num_warnings and decide below.
void say_nothing(j_common_ptr) {}

// Whether `to` holds the pixels. No object of a class is made here: an error jumps out.
bool decode(std::span<const uint8_t> bytes, const ImageInfo& image, int channels, uint8_t* to) {
  jpeg_decompress_struct info;
  ErrorManager errors;
  info.err = jpeg_std_error(&errors.base);
  errors.base.error_exit = leave;
  errors.base.output_message = say_nothing;
  if (setjmp(errors.jump)) {
    jpeg_destroy_decompress(&info);
    return false;
  }
  jpeg_create_decompress(&info);
  jpeg_mem_src(&info, bytes.data(), static_cast<unsigned long>(bytes.size()));
  jpeg_read_header(&info, TRUE);
  // What the components are was decided by the walk, as in any other build.
  if (image.channels == 3) info.jpeg_color_space = image.ycc ? JCS_YCbCr : JCS_RGB;
  info.out_color_space = channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  info.do_block_smoothing = FALSE;
  jpeg_start_decompress(&info);
  bool fits = static_cast<int>(info.output_width) == image.width &&
              static_cast<int>(info.output_height) == image.height &&
              info.output_components == channels;
  while (fits && info.output_scanline < info.output_height) {
    JSAMPROW row = to + static_cast<size_t>(info.output_scanline) * image.width * channels;
    fits = jpeg_read_scanlines(&info, &row, 1) == 1;
  }
  if (fits) jpeg_finish_decompress(&info);
  fits = fits && errors.base.num_warnings == 0;
  jpeg_destroy_decompress(&info);
  return fits;
}

}  // namespace

std::string turbo_reader() {
#define THORAX_TEXT_OF(x) #x
#define THORAX_TEXT(x) THORAX_TEXT_OF(x)
  return "libjpeg-turbo " THORAX_TEXT(LIBJPEG_TURBO_VERSION);
}

Samples decode_jpeg_by_turbo(std::span<const uint8_t> bytes, const std::string& name,
                             const DecodeLimits& limits, Use use) {
  ImageInfo info = check_jpeg(bytes, name, limits);
  if (info.channels == 4) return decode_checked_jpeg_by_stb(bytes, std::move(info), name, use);
  std::vector<uint8_t> ended;  // with the end marker that the file lacks
  if (info.no_end_marker) {
    ended.assign(bytes.begin(), bytes.end());
    ended.insert(ended.end(), {0xFF, 0xD9});
  }
  Samples s;
  s.channels = info.channels == 3 && !(use == Use::gray && info.ycc) ? 3 : 1;
  s.pixels = allocate_pixels(static_cast<size_t>(info.width) * static_cast<size_t>(info.height) *
                             static_cast<size_t>(s.channels));
  s.info = std::move(info);
  if (!decode(ended.empty() ? bytes : ended, s.info, s.channels, s.u8()))
    return decode_checked_jpeg_by_stb(bytes, std::move(s.info), name, use);
  return s;
}

}  // namespace thorax

#endif
