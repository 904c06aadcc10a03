// Pictures of a mask on its radiograph.
#pragma once

#include <array>
#include <cstdint>

#include "data/image.h"

namespace thorax {

using Rgb = std::array<std::uint8_t, 3>;

// Okabe-Ito: told apart with any kind of colour vision.
inline constexpr Rgb kBlue{0, 114, 178};
inline constexpr Rgb kOrange{230, 159, 0};
inline constexpr Rgb kVermillion{213, 94, 0};
inline constexpr Rgb kGreen{0, 158, 115};

// RGB picture of a one-channel image with the mask tinted (share `tint` of the colour) and its
// outline solid, `outline` pixels wide. Image and mask must have the same size.
ImageU8 overlay_mask(const Image& gray, const ImageU8& mask, Rgb colour, float tint = 0.25f,
                     int outline = 2);

// Draws only the outline of a second mask (the truth beside a prediction) onto an RGB picture.
void draw_outline(ImageU8& picture, const ImageU8& mask, Rgb colour, int width = 2);

// Keeps the pixels inside the mask, `outside` elsewhere: what the study feeds its classifier.
Image keep_inside(const Image& gray, const ImageU8& mask, float outside = 0.f);

}  // namespace thorax
