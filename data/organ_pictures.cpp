#include "data/organ_pictures.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "data/draw.h"
#include "engine/tensor/error.h"

namespace thorax {

Rgb organ_colour(std::size_t k) {
  constexpr Rgb kColours[] = {{0, 114, 178},   {230, 159, 0},  {0, 158, 115},  {213, 94, 0},
                              {204, 121, 167}, {86, 180, 233}, {240, 228, 66}, {150, 150, 150}};
  return kColours[k % std::size(kColours)];
}

ImageU8 overlay_organs(const Image& gray, const std::vector<ImageU8>& masks) {
  constexpr float kTint = 0.25f;
  THORAX_CHECK(gray.channels == 1, "[overlay] needs a gray image, got {} channels", gray.channels);
  ImageU8 picture(gray.height, gray.width, 3);
  for (int y = 0; y < gray.height; ++y)
    for (int x = 0; x < gray.width; ++x) {
      const float value = std::clamp(gray.at(y, x), 0.f, 1.f) * 255.f;
      for (int c = 0; c < 3; ++c) {
        float mixed = value;
        for (std::size_t k = 0; k < masks.size(); ++k)
          if (masks[k].at(y, x))
            mixed = mixed * (1 - kTint) + kTint * organ_colour(k)[static_cast<std::size_t>(c)];
        picture.at(y, x, c) = static_cast<std::uint8_t>(std::lround(mixed));
      }
    }
  for (std::size_t k = 0; k < masks.size(); ++k)
    draw_outline(picture, masks[k], organ_colour(k), 2);
  return picture;
}

ImageU8 with_legend(const ImageU8& picture, const std::vector<std::string>& names) {
  const int scale = std::max(1, picture.width / 320);
  const int line = (kGlyphHeight + 4) * scale, square = kGlyphHeight * scale;
  // A line takes what fits; names that are longer than the picture get one of their own.
  std::vector<std::pair<int, int>> places;  // line, left
  int row = 0, left = 4 * scale;
  for (const std::string& name : names) {
    const int width = square + 4 * scale + text_width(name, scale) + 10 * scale;
    if (left > 4 * scale && left + width > picture.width) {
      ++row;
      left = 4 * scale;
    }
    places.emplace_back(row, left);
    left += width;
  }
  ImageU8 out(picture.height + (row + 1) * line + 4 * scale, picture.width, 3);
  paste(out, picture, 0, 0);
  fill_rectangle(out, picture.height, 0, out.height - picture.height, out.width, {250, 250, 250});
  for (std::size_t k = 0; k < names.size(); ++k) {
    const int top = picture.height + 4 * scale + places[k].first * line;
    const Rgb colour = organ_colour(k);
    fill_rectangle(out, top, places[k].second, square, square, {colour[0], colour[1], colour[2]});
    draw_text(out, names[k], top, places[k].second + square + 4 * scale, {40, 40, 40}, scale);
  }
  return out;
}

}  // namespace thorax
