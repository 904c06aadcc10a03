// Simple drawing into images: rectangles, lines, and text in a 5x7 bitmap font (capitals, digits,
// signs).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "data/image.h"

namespace thorax {

using Color = std::array<uint8_t, 3>;

// Everything is clipped to the canvas. A one-channel canvas takes the colour's first component.
void fill_rectangle(ImageU8& canvas, int top, int left, int height, int width, Color color);
// `image` (1 or 3 channels) copied to (top, left).
void paste(ImageU8& canvas, const ImageU8& image, int top, int left);

constexpr int kGlyphHeight = 7, kGlyphAdvance = 6;
// Small letters are shown as capitals, unknown characters as a box. `scale` pixels a dot.
void draw_text(ImageU8& canvas, std::string_view text, int top, int left, Color color,
               int scale = 1);
int text_width(std::string_view text, int scale = 1);

// Whether dot (row, column) of a 5x7 glyph is set.
bool glyph_dot(char c, int row, int column);

}  // namespace thorax
