#include "data/overlay.h"

#include <algorithm>
#include <cmath>

#include "engine/tensor/error.h"

namespace thorax {
namespace {

template <class T>
void check_sizes(const char* what, const Raster<T>& image, const ImageU8& mask) {
  THORAX_CHECK(mask.channels == 1 && image.height == mask.height && image.width == mask.width,
               "[{}] image {}x{} and mask {}x{}x{} differ in size", what, image.height, image.width,
               mask.height, mask.width, mask.channels);
}

// A mask pixel with a pixel outside the mask within `reach` (city block) belongs to the outline.
bool on_outline(const ImageU8& mask, int y, int x, int reach) {
  if (mask.at(y, x) == 0) return false;
  for (int dy = -reach; dy <= reach; ++dy) {
    const int span = reach - std::abs(dy);
    for (int dx = -span; dx <= span; ++dx) {
      const int v = y + dy, u = x + dx;
      if (v < 0 || u < 0 || v >= mask.height || u >= mask.width || mask.at(v, u) == 0) return true;
    }
  }
  return false;
}

}  // namespace

void draw_outline(ImageU8& picture, const ImageU8& mask, Rgb colour, int width) {
  check_sizes("outline", picture, mask);
  THORAX_CHECK(picture.channels == 3, "[outline] needs an RGB picture, got {} channels",
               picture.channels);
  for (int y = 0; y < mask.height; ++y)
    for (int x = 0; x < mask.width; ++x)
      if (on_outline(mask, y, x, width))
        for (int c = 0; c < 3; ++c) picture.at(y, x, c) = colour[static_cast<std::size_t>(c)];
}

ImageU8 overlay_mask(const Image& gray, const ImageU8& mask, Rgb colour, float tint, int outline) {
  check_sizes("overlay", gray, mask);
  THORAX_CHECK(gray.channels == 1, "[overlay] needs a gray image, got {} channels", gray.channels);
  ImageU8 picture(gray.height, gray.width, 3);
  for (int y = 0; y < gray.height; ++y) {
    for (int x = 0; x < gray.width; ++x) {
      const float value = std::clamp(gray.at(y, x), 0.f, 1.f) * 255.f;
      const float share = mask.at(y, x) != 0 ? tint : 0.f;
      for (int c = 0; c < 3; ++c) {
        const float mixed = value * (1 - share) + share * colour[static_cast<std::size_t>(c)];
        picture.at(y, x, c) = static_cast<std::uint8_t>(std::lround(mixed));
      }
    }
  }
  draw_outline(picture, mask, colour, outline);
  return picture;
}

Image keep_inside(const Image& gray, const ImageU8& mask, float outside) {
  check_sizes("cut", gray, mask);
  Image result = gray;
  for (int y = 0; y < gray.height; ++y)
    for (int x = 0; x < gray.width; ++x)
      if (mask.at(y, x) == 0)
        for (int c = 0; c < gray.channels; ++c) result.at(y, x, c) = outside;
  return result;
}

}  // namespace thorax
