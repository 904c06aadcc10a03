#include "models/lung_postprocess.h"

#include <doctest/doctest.h>

#include "tests/support/check.h"

using namespace thorax;

namespace {

// A mask with filled rectangles [row0, row1) x [column0, column1).
Tensor rectangles(std::int64_t size, const std::vector<std::array<std::int64_t, 4>>& boxes) {
  const Tensor mask = Tensor::zeros({1, size, size, 1}, DType::u8);
  for (const auto& [row0, column0, row1, column1] : boxes)
    for (std::int64_t r = row0; r < row1; ++r)
      for (std::int64_t c = column0; c < column1; ++c)
        mask.data<std::uint8_t>()[r * size + c] = 255;
  return mask;
}

// Area of a rectangle after n cross dilations: the rectangle, a band on each side, and in each
// corner the triangle 1 + ... + (n - 1).
std::int64_t dilated_area(std::int64_t height, std::int64_t width, std::int64_t n) {
  return height * width + 2 * n * (height + width) + 4 * (n * (n - 1) / 2);
}

}  // namespace

TEST_CASE("two lungs: areas add up and the image is kept") {
  const LungMask lungs =
      lung_postprocess(rectangles(512, {{100, 60, 400, 200}, {100, 300, 400, 440}}));
  REQUIRE(lungs.regions.size() == 2);
  // The closing's dilations are taken back by its erosions, up to the corners' smoothing.
  const std::int64_t lower = dilated_area(300, 140, 8), upper = lower + 4 * 8;
  for (const Component& region : lungs.regions) {
    CHECK(region.area >= lower);
    CHECK(region.area <= upper);
  }
  CHECK(lungs.area == lungs.regions[0].area + lungs.regions[1].area);
  CHECK(lungs.area_512 == static_cast<double>(lungs.area));
  CHECK(lungs.kept);
}

TEST_CASE("the threshold is 50,000 pixels of 512 x 512, at any resolution") {
  LungPostprocessOptions plain;
  plain.dilations = plain.closings = 0;
  // 200 x 250 = 50,000 is kept, one pixel less is not.
  CHECK(lung_postprocess(rectangles(512, {{0, 0, 200, 250}}), plain).kept);
  Tensor less = rectangles(512, {{0, 0, 200, 250}});
  less.data<std::uint8_t>()[0] = 0;
  const LungMask rejected = lung_postprocess(less, plain);
  CHECK(rejected.area == 49999);
  CHECK(!rejected.kept);
  // A quarter of the pixels: 12,500 suffice at 256 x 256.
  CHECK(lung_postprocess(rectangles(256, {{0, 0, 100, 125}}), plain).kept);
  CHECK(!lung_postprocess(rectangles(256, {{0, 0, 100, 124}}), plain).kept);
}

TEST_CASE("an empty mask is rejected, a bad one is an error") {
  const LungMask nothing = lung_postprocess(rectangles(64, {}));
  CHECK(nothing.area == 0);
  CHECK(nothing.regions.empty());
  CHECK(!nothing.kept);
  CHECK_THROWS_WITH_AS(lung_postprocess(Tensor::zeros({2, 8, 8, 1}, DType::u8)),
                       doctest::Contains("got 2x8x8x1"), Error);
}

TEST_CASE("dilation joins fragments of one lung into one region") {
  const LungMask lungs = lung_postprocess(rectangles(128, {{20, 20, 60, 50}, {70, 20, 110, 50}}));
  CHECK(lungs.regions.size() == 1);
}
