// Resizing. Coordinates are pixel centres: output centre i+0.5 lies at (i+0.5)*in/out of the input.
#pragma once

#include "data/image.h"

namespace thorax {

// Separable triangle filter whose support grows with the shrink factor (no aliasing): bilinear when
// enlarging, a weighted area mean when shrinking. The same definition as PIL's BILINEAR and
// PyTorch's interpolate(mode="bilinear", antialias=True, align_corners=False). Any number of
// channels.
Image resize(const Image& image, int height, int width);

// Nearest pixel centre (PyTorch's "nearest-exact"): for masks, which must keep their values.
ImageU8 resize_nearest(const ImageU8& image, int height, int width);

// Scaled with the aspect ratio kept until height x width is covered, then cropped at the centre.
Image resize_and_center_crop(const Image& image, int height, int width);
ImageU8 resize_nearest_and_center_crop(const ImageU8& image, int height, int width);

}  // namespace thorax
