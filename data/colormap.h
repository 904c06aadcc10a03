// Values as colours.
#pragma once

#include "data/draw.h"
#include "data/image.h"

namespace thorax {

// The colour of `value` (clamped to 0..1; NaN as 0): dark violet, blue, green, yellow. Lightness
// rises evenly, so equal steps look equal, in gray and with any kind of colour vision, too.
// Polynomials of degree 6 fitted to Viridis (van der Walt and Smith, 2015; CC0), within 3 of 255.
Color heat_color(double value);

// `heat` (one channel, 0..1) laid over `gray` (one channel, same size) with opacity 0..1.
ImageU8 overlay_heat(const Image& gray, const Image& heat, double opacity = 0.5);

// A vertical bar of the colours, 1 at the top, with the labels "1", "0.5" and "0" beside it, on
// white.
ImageU8 color_bar(int height, int bar_width = 14);

}  // namespace thorax
