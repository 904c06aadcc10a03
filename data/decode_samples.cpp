#include "data/decode_samples.h"

#include <algorithm>
#include <cstdlib>
#include <new>

#include "data/image_place.h"
#include "engine/io/atomic_file.h"
#include "engine/tensor/error.h"

namespace thorax {

void FreePixels::operator()(void* p) const {
  std::free(p);
}

PixelBuffer allocate_pixels(size_t bytes) {
  PixelBuffer pixels(std::malloc(std::max<size_t>(bytes, 1)));
  if (!pixels) throw std::bad_alloc();
  return pixels;
}

void check_indices(const Samples& s, const std::string& name) {
  const size_t colours = s.info.palette.size() / 3;
  const uint8_t* first = s.u8();
  const uint8_t* worst = std::max_element(first, first + s.count());
  const auto place = static_cast<size_t>(worst - first);
  THORAX_CHECK(static_cast<size_t>(*worst / s.step) < colours,
               "[decode] {}: corrupt {}: the pixel in row {}, column {} has palette index {}, the "
               "palette has {} colours",
               name, s.info.format, place / static_cast<size_t>(s.info.width),
               place % static_cast<size_t>(s.info.width), *worst / s.step, colours);
}

std::vector<std::byte> read_image_file(const std::filesystem::path& path,
                                       const DecodeLimits& limits) {
  return read_bytes(image_file(path), static_cast<uint64_t>(limits.max_file_bytes));
}

}  // namespace thorax
