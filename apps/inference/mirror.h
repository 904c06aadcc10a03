// The mirror image, which test-time augmentation ("flip") averages over beside the image itself. It
// is the only other view there is: rotations and shifts cut off or make up pixels at the border of
// a radiograph.
#pragma once

#include <algorithm>
#include <string>

#include "data/image.h"

namespace thorax {

// Left and right swapped.
inline Image mirror(const Image& image) {
  Image result = image;
  for (int y = 0; y < image.height; ++y) {
    const auto row = result.pixels.begin() + static_cast<std::ptrdiff_t>(y) * image.width;
    std::reverse(row, row + image.width);
  }
  return result;
}

// Whether "none" or "flip" (--tta) asks for it. Throws Error "[tta] ..." for another word.
bool parse_tta(const std::string& text);

}  // namespace thorax
