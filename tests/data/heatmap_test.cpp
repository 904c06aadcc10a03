// Heatmaps as figures and as colours.
#include <doctest/doctest.h>

#include <cmath>

#include "data/colormap.h"
#include "data/lung_focus.h"
#include "engine/tensor/error.h"

using namespace thorax;

TEST_CASE("lung focus of a known map") {
  // 4 x 5; the lungs are the two left columns: 8 of 20 pixels.
  ImageU8 lungs(4, 5);
  for (int y = 0; y < 4; ++y)
    for (int x = 0; x < 2; ++x) lungs.at(y, x) = 255;
  Image heat(4, 5);
  heat.at(1, 1) = 0.5f;   // inside
  heat.at(2, 0) = 0.25f;  // inside
  heat.at(3, 4) = 1.f;    // outside, and the maximum
  const auto focus = lung_focus(heat, lungs);
  REQUIRE(focus.has_value());
  CHECK(focus->energy_share == doctest::Approx(0.75 / 1.75));
  CHECK(focus->area_share == doctest::Approx(0.4));
  CHECK(focus->ratio() == doctest::Approx(0.75 / 1.75 / 0.4));
  CHECK(!focus->hit);
  heat.at(3, 4) = 0.25f;
  CHECK(lung_focus(heat, lungs)->hit);
  // An even map has chance's share; its middle pixel is outside.
  const auto even = lung_focus(Image(4, 5, 1, 0.3f), lungs);
  CHECK(even->ratio() == doctest::Approx(1));
  CHECK(lung_focus(Image(4, 5, 1, 1.f), ImageU8(4, 5, 1, 255))->energy_share == 1);
  // No figure without a map or without lungs.
  CHECK(!lung_focus(Image(4, 5), lungs).has_value());
  CHECK(!lung_focus(heat, ImageU8(4, 5)).has_value());
  CHECK_THROWS_AS(lung_focus(heat, ImageU8(5, 4)), Error);
  heat.at(0, 0) = -1.f;
  CHECK_THROWS_AS(lung_focus(heat, lungs), Error);
  heat.at(0, 0) = NAN;
  CHECK_THROWS_AS(lung_focus(heat, lungs), Error);
}

TEST_CASE("colours rise in lightness, by even steps") {
  // CIE L* of an sRGB colour.
  const auto lightness = [](const Color& color) {
    double y = 0;
    const double weights[3] = {0.2126, 0.7152, 0.0722};
    for (std::size_t c = 0; c < 3; ++c) {
      const double v = color[c] / 255.0;
      y += weights[c] * (v <= 0.04045 ? v / 12.92 : std::pow((v + 0.055) / 1.055, 2.4));
    }
    return y > 0.008856 ? 116 * std::cbrt(y) - 16 : 903.3 * y;
  };
  const double first = lightness(heat_color(0)), last = lightness(heat_color(1));
  CHECK(first < 20);
  CHECK(last > 85);
  for (int i = 1; i <= 20; ++i) {
    const double step = lightness(heat_color(i / 20.0)) - lightness(heat_color((i - 1) / 20.0));
    CHECK(step > 0.5 * (last - first) / 20);
    CHECK(step < 1.5 * (last - first) / 20);
  }
  CHECK(heat_color(-3) == heat_color(0));
  CHECK(heat_color(7) == heat_color(1));
  CHECK(heat_color(NAN) == heat_color(0));
}

TEST_CASE("a heatmap over its image, and the bar") {
  const Image gray(3, 4, 1, 1.f);
  Image heat(3, 4);
  heat.at(1, 2) = 1;
  const ImageU8 plain = overlay_heat(gray, heat, 0), full = overlay_heat(gray, heat, 1);
  for (int c = 0; c < 3; ++c) {
    CHECK(plain.at(1, 2, c) == 255);
    CHECK(full.at(1, 2, c) == heat_color(1)[static_cast<std::size_t>(c)]);
    CHECK(full.at(0, 0, c) == heat_color(0)[static_cast<std::size_t>(c)]);
  }
  CHECK_THROWS_AS(overlay_heat(gray, Image(4, 3)), Error);
  CHECK_THROWS_AS(overlay_heat(gray, heat, 2), Error);
  const ImageU8 bar = color_bar(50);
  for (int c = 0; c < 3; ++c) {
    CHECK(bar.at(0, 0, c) == heat_color(1)[static_cast<std::size_t>(c)]);
    CHECK(bar.at(49, 0, c) == heat_color(0)[static_cast<std::size_t>(c)]);
  }
}
