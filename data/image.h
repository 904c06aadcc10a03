// Images in memory: rows top to bottom, pixels left to right, channels interleaved (HWC).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace thorax {

// An HWC raster. `pixels` holds height*width*channels values.
template <class T>
struct Raster {
  int height = 0;
  int width = 0;
  int channels = 0;
  std::vector<T> pixels;

  Raster() = default;
  Raster(int height_, int width_, int channels_ = 1, T fill = T{})
      : height(height_),
        width(width_),
        channels(channels_),
        pixels(static_cast<size_t>(height_) * width_ * channels_, fill) {}

  T& at(int y, int x, int c = 0) {
    return pixels[(static_cast<size_t>(y) * width + x) * channels + c];
  }
  const T& at(int y, int x, int c = 0) const {
    return pixels[(static_cast<size_t>(y) * width + x) * channels + c];
  }
  T* row(int y) { return pixels.data() + static_cast<size_t>(y) * width * channels; }
  const T* row(int y) const { return pixels.data() + static_cast<size_t>(y) * width * channels; }
  bool empty() const { return pixels.empty(); }
};

using Image = Raster<float>;        // 0..1
using ImageU8 = Raster<uint8_t>;    // 0..255
using ImageU16 = Raster<uint16_t>;  // 0..65535

// 0..1 -> 0..255 (or 0..65535), clamped, rounded to nearest; NaN becomes 0.
ImageU8 to_u8(const Image& image);
ImageU16 to_u16(const Image& image);
Image to_float(const ImageU8& image);
Image to_float(const ImageU16& image);

// One channel from 1, 3 (ITU-R BT.601 luma: 0.299 R + 0.587 G + 0.114 B).
Image to_gray(const Image& image);

// Three equal channels from one; three stay.
Image to_rgb(const Image& image);
ImageU8 to_rgb(const ImageU8& image);

// The window [top, top+height) x [left, left+width); parts outside the image are `fill`.
Image crop(const Image& image, int top, int left, int height, int width, float fill = 0.f);
ImageU8 crop(const ImageU8& image, int top, int left, int height, int width, uint8_t fill = 0);

// Where `letterbox` puts an image of height x width inside out_height x out_width.
struct LetterboxPlace {
  int top = 0, left = 0, height = 0, width = 0;
};
LetterboxPlace letterbox_place(int height, int width, int out_height, int out_width);

// Scales to fit inside out_height x out_width with the aspect ratio kept, centred on `fill`.
Image letterbox(const Image& image, int out_height, int out_width, float fill = 0.f);
// The same for masks, by nearest neighbour.
ImageU8 letterbox_nearest(const ImageU8& mask, int out_height, int out_width);

// Pixelwise OR of two one-channel masks (non-zero is inside); result is 0 or 255.
// Throws if the sizes differ.
ImageU8 merge_masks(const ImageU8& a, const ImageU8& b);

// Non-zero (>= threshold) becomes 255, all else 0.
ImageU8 binarize(const ImageU8& mask, int threshold = 128);
int64_t mask_area(const ImageU8& mask);

}  // namespace thorax
