#include "data/colormap.h"

#include <algorithm>
#include <cmath>

#include "engine/tensor/error.h"

namespace thorax {
namespace {

// Per channel, the coefficients of 1, x, x^2, ...
constexpr double kViridis[3][7] = {{0.2769, -0.1371, 2.0825, -13.1653, 20.1423, -5.8870, -2.3289},
                                   {0.0038, 1.4892, -0.7289, -2.0184, 7.2999, -7.8970, 2.7562},
                                   {0.3377, 0.9542, 5.1218, -40.5251, 97.2901, -101.2830, 38.2399}};

}  // namespace

Color heat_color(double value) {
  const double x = std::isnan(value) ? 0 : std::clamp(value, 0.0, 1.0);
  Color color{};
  for (std::size_t c = 0; c < 3; ++c) {
    double y = 0;
    for (int k = 6; k >= 0; --k) y = y * x + kViridis[c][k];
    color[c] = static_cast<std::uint8_t>(std::lround(std::clamp(y, 0.0, 1.0) * 255));
  }
  return color;
}

ImageU8 overlay_heat(const Image& gray, const Image& heat, double opacity) {
  THORAX_CHECK(gray.channels == 1 && heat.channels == 1 && gray.height == heat.height &&
                   gray.width == heat.width && opacity >= 0 && opacity <= 1,
               "[overlay] image {}x{}x{}, heat {}x{}x{}, opacity {}", gray.height, gray.width,
               gray.channels, heat.height, heat.width, heat.channels, opacity);
  ImageU8 picture(gray.height, gray.width, 3);
  for (int y = 0; y < gray.height; ++y)
    for (int x = 0; x < gray.width; ++x) {
      const double value = 255 * std::clamp(static_cast<double>(gray.at(y, x)), 0.0, 1.0);
      const Color color = heat_color(static_cast<double>(heat.at(y, x)));
      for (int c = 0; c < 3; ++c)
        picture.at(y, x, c) = static_cast<std::uint8_t>(
            std::lround((1 - opacity) * value + opacity * color[static_cast<std::size_t>(c)]));
    }
  return picture;
}

ImageU8 color_bar(int height, int bar_width) {
  THORAX_CHECK(height > 0 && bar_width > 0, "[overlay] colour bar of {} x {}", height, bar_width);
  constexpr int kGap = 4;
  ImageU8 picture(height, bar_width + 2 * kGap + text_width("0.5"), 3, 255);
  for (int y = 0; y < height; ++y)
    fill_rectangle(picture, y, 0, 1, bar_width,
                   heat_color(1 - static_cast<double>(y) / std::max(1, height - 1)));
  const Color ink{30, 30, 30};
  const int left = bar_width + kGap;
  draw_text(picture, "1", 0, left, ink);
  draw_text(picture, "0.5", (height - kGlyphHeight) / 2, left, ink);
  draw_text(picture, "0", height - kGlyphHeight, left, ink);
  return picture;
}

}  // namespace thorax
