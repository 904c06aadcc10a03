#include "data/image.h"

#include <algorithm>
#include <cmath>

#include "data/resize.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

template <class T>
Raster<T> quantize(const Image& image, float top) {
  Raster<T> out(image.height, image.width, image.channels);
  for (size_t i = 0; i < image.pixels.size(); ++i) {
    const float v = image.pixels[i];
    // Written so that NaN fails the first comparison and becomes 0.
    const float clamped = v > 0.f ? (v < 1.f ? v : 1.f) : 0.f;
    out.pixels[i] = static_cast<T>(clamped * top + 0.5f);
  }
  return out;
}

template <class T>
Image widen(const Raster<T>& image, float top) {
  Image out(image.height, image.width, image.channels);
  for (size_t i = 0; i < image.pixels.size(); ++i)
    out.pixels[i] = static_cast<float>(image.pixels[i]) / top;
  return out;
}

template <class T>
Raster<T> replicate_channels(const Raster<T>& image) {
  if (image.channels == 3) return image;
  THORAX_CHECK(image.channels == 1, "[image] {}x{}x{}: to_rgb wants 1 or 3 channels", image.height,
               image.width, image.channels);
  Raster<T> out(image.height, image.width, 3);
  for (size_t i = 0; i < image.pixels.size(); ++i)
    out.pixels[3 * i] = out.pixels[3 * i + 1] = out.pixels[3 * i + 2] = image.pixels[i];
  return out;
}

template <class T>
Raster<T> crop_window(const Raster<T>& image, int top, int left, int height, int width, T fill) {
  THORAX_CHECK(height >= 0 && width >= 0, "[image] crop to {}x{}: negative size", height, width);
  Raster<T> out(height, width, image.channels, fill);
  const int y0 = std::max(0, -top), y1 = std::min(height, image.height - top);
  const int x0 = std::max(0, -left), x1 = std::min(width, image.width - left);
  if (x0 >= x1) return out;
  for (int y = y0; y < y1; ++y) {
    const T* from = image.row(y + top) + static_cast<ptrdiff_t>(x0 + left) * image.channels;
    std::copy(from, from + static_cast<ptrdiff_t>(x1 - x0) * image.channels,
              out.row(y) + static_cast<ptrdiff_t>(x0) * image.channels);
  }
  return out;
}

}  // namespace

ImageU8 to_u8(const Image& image) {
  return quantize<uint8_t>(image, 255.f);
}
ImageU16 to_u16(const Image& image) {
  return quantize<uint16_t>(image, 65535.f);
}
Image to_float(const ImageU8& image) {
  return widen(image, 255.f);
}
Image to_float(const ImageU16& image) {
  return widen(image, 65535.f);
}

Image to_gray(const Image& image) {
  if (image.channels == 1) return image;
  THORAX_CHECK(image.channels == 3, "[image] {}x{}x{}: to_gray wants 1 or 3 channels", image.height,
               image.width, image.channels);
  Image out(image.height, image.width, 1);
  for (size_t i = 0; i < out.pixels.size(); ++i) {
    const float* p = image.pixels.data() + 3 * i;
    // The sum form keeps r == g == b exact, so a gray image stored as RGB stays what it was.
    out.pixels[i] = p[1] + 0.299f * (p[0] - p[1]) + 0.114f * (p[2] - p[1]);
  }
  return out;
}

Image to_rgb(const Image& image) {
  return replicate_channels(image);
}
ImageU8 to_rgb(const ImageU8& image) {
  return replicate_channels(image);
}

Image crop(const Image& image, int top, int left, int height, int width, float fill) {
  return crop_window(image, top, left, height, width, fill);
}
ImageU8 crop(const ImageU8& image, int top, int left, int height, int width, uint8_t fill) {
  return crop_window(image, top, left, height, width, fill);
}

LetterboxPlace letterbox_place(int height, int width, int out_height, int out_width) {
  THORAX_CHECK(height > 0 && width > 0 && out_height > 0 && out_width > 0,
               "[image] letterbox {}x{} into {}x{}: sizes must be positive", height, width,
               out_height, out_width);
  const double scale =
      std::min(static_cast<double>(out_height) / height, static_cast<double>(out_width) / width);
  LetterboxPlace place;
  place.height = std::clamp(static_cast<int>(std::lround(height * scale)), 1, out_height);
  place.width = std::clamp(static_cast<int>(std::lround(width * scale)), 1, out_width);
  place.top = (out_height - place.height) / 2;
  place.left = (out_width - place.width) / 2;
  return place;
}

Image letterbox(const Image& image, int out_height, int out_width, float fill) {
  const LetterboxPlace p = letterbox_place(image.height, image.width, out_height, out_width);
  return crop(resize(image, p.height, p.width), -p.top, -p.left, out_height, out_width, fill);
}

ImageU8 letterbox_nearest(const ImageU8& mask, int out_height, int out_width) {
  const LetterboxPlace p = letterbox_place(mask.height, mask.width, out_height, out_width);
  return crop(resize_nearest(mask, p.height, p.width), -p.top, -p.left, out_height, out_width, 0);
}

ImageU8 merge_masks(const ImageU8& a, const ImageU8& b) {
  THORAX_CHECK(a.height == b.height && a.width == b.width && a.channels == 1 && b.channels == 1,
               "[image] masks of {}x{}x{} and {}x{}x{} cannot be merged", a.height, a.width,
               a.channels, b.height, b.width, b.channels);
  ImageU8 out(a.height, a.width, 1);
  for (size_t i = 0; i < out.pixels.size(); ++i)
    out.pixels[i] = (a.pixels[i] || b.pixels[i]) ? 255 : 0;
  return out;
}

ImageU8 binarize(const ImageU8& mask, int threshold) {
  ImageU8 out = mask;
  for (uint8_t& v : out.pixels) v = v >= threshold ? 255 : 0;
  return out;
}

int64_t mask_area(const ImageU8& mask) {
  return std::count_if(mask.pixels.begin(), mask.pixels.end(), [](uint8_t v) { return v != 0; });
}

}  // namespace thorax
