// --tta: several views of an image whose results are averaged ("test-time augmentation").
#pragma once

#include <algorithm>
#include <string>

#include "data/image.h"

namespace CLI {
class App;
}

namespace thorax::app {

// --tta none|flip. `flip`: the image and its mirror image, left and right swapped. It is the only
// one there is: rotations and shifts cut off or make up pixels at the border of a radiograph.
void add_tta_option(CLI::App& command, std::string& tta);

// Left and right swapped.
inline Image mirror(const Image& image) {
  Image result = image;
  for (int y = 0; y < image.height; ++y) {
    const auto row = result.pixels.begin() + static_cast<std::ptrdiff_t>(y) * image.width;
    std::reverse(row, row + image.width);
  }
  return result;
}

}  // namespace thorax::app
