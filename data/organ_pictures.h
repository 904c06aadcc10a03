// Pictures of several organs on their radiograph, each in its colour, with a legend.
#pragma once

#include <string>
#include <vector>

#include "data/image.h"
#include "data/overlay.h"

namespace thorax {

// Of organ `k`: eight colours of Okabe and Ito, then again from the first.
Rgb organ_colour(std::size_t k);

// RGB picture of a one-channel image with every mask tinted and outlined in its organ's colour;
// where masks overlap, both tints are seen. Masks have the image's size.
ImageU8 overlay_organs(const Image& gray, const std::vector<ImageU8>& masks);

// A bar below the picture with a square of each organ's colour and its name.
ImageU8 with_legend(const ImageU8& picture, const std::vector<std::string>& names);

}  // namespace thorax
