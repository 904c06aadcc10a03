#include "data/view.h"

#include <doctest/doctest.h>

#include "engine/tensor/error.h"

using namespace thorax;

namespace {

// 20 x 10, pixel (y, x) = (y * 10 + x) / 1000; the mask covers rows 5..9, columns 3..6.
Image ramp() {
  Image image(20, 10);
  for (std::size_t i = 0; i < image.pixels.size(); ++i)
    image.pixels[i] = static_cast<float>(i) / 1000;
  return image;
}

ImageU8 box() {
  ImageU8 mask(20, 10);
  for (int y = 5; y < 10; ++y)
    for (int x = 3; x < 7; ++x)
      if (!(y == 7 && x == 5)) mask.at(y, x) = 255;  // a hole: still inside of the box
  return mask;
}

}  // namespace

TEST_CASE("views: what stays, what goes") {
  const Image image = ramp();
  const ImageU8 mask = box();
  CHECK(apply_view(View::whole, image, {}).pixels == image.pixels);
  const Image lungs = apply_view(View::lungs, image, mask);
  const Image without = apply_view(View::no_lungs, image, mask);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) {
    CHECK(lungs.pixels[i] == (mask.pixels[i] ? image.pixels[i] : 0.f));
    CHECK(without.pixels[i] == (mask.pixels[i] ? 0.f : image.pixels[i]));
  }
  double sum = 0;
  for (int y = 0; y < 20; ++y)
    for (int x = 0; x < 10; ++x)
      if (y < 5 || y > 9 || x < 3 || x > 6) sum += image.at(y, x);
  const Image filled = apply_view(View::no_lungs_filled, image, mask);
  for (int y = 0; y < 20; ++y)
    for (int x = 0; x < 10; ++x) {
      const bool in = y >= 5 && y <= 9 && x >= 3 && x <= 6;
      CHECK(filled.at(y, x) == doctest::Approx(in ? sum / 180 : image.at(y, x)));
    }
  // A tenth of 20 rows and of 10 columns on each side.
  const Image frame = apply_view(View::border, image, {});
  for (int y = 0; y < 20; ++y)
    for (int x = 0; x < 10; ++x) {
      const bool edge = y < 2 || y >= 18 || x < 1 || x >= 9;
      CHECK(frame.at(y, x) == (edge ? image.at(y, x) : 0.f));
    }
}

TEST_CASE("views: a mask that covers everything or nothing") {
  const Image image = ramp();
  CHECK(apply_view(View::no_lungs_filled, image, ImageU8(20, 10)).pixels == image.pixels);
  const Image all = apply_view(View::no_lungs_filled, image, ImageU8(20, 10, 1, 255));
  for (const float v : all.pixels) CHECK(v == 0.5f);
}

TEST_CASE("views: names go there and back; wrong use is named") {
  for (const std::string& name : view_names()) CHECK(name_of(parse_view(name)) == name);
  CHECK_THROWS_WITH_AS(parse_view("lung"),
                       "[view] 'lung' is none of whole, lungs, no-lungs, no-lungs-filled, border",
                       Error);
  CHECK_THROWS_WITH_AS(apply_view(View::lungs, ramp(), ImageU8(5, 5)),
                       doctest::Contains("image 20x10 wants a lung mask of that size, got 5x5"),
                       Error);
  CHECK_THROWS_WITH_AS(apply_view(View::no_lungs, ramp(), {}), doctest::Contains("got 0x0"), Error);
}
