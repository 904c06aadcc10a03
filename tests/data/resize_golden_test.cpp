// Resizing of images and masks against PyTorch's interpolate (tests/golden/make_ops.py).
#include <doctest/doctest.h>

#include "data/resize.h"
#include "tests/support/golden.h"

using namespace thorax;

TEST_CASE("golden resizing: antialiased images, nearest-exact masks") {
  const auto cases = test::golden_cases("resize.safetensors");
  REQUIRE(cases.size() == 11);
  for (std::size_t k = 0; k < cases.size(); ++k) {
    CAPTURE(k);
    const test::GoldenCase& c = cases[k];
    const int height = static_cast<int>(c.number("height")),
              width = static_cast<int>(c.number("width"));
    const auto raster = [](const Tensor& t, auto sample) {
      Raster<decltype(sample)> image(static_cast<int>(t.size(1)), static_cast<int>(t.size(2)),
                                     static_cast<int>(t.size(3)));
      const auto* values = t.data<decltype(sample)>();
      image.pixels.assign(values, values + t.numel());
      return image;
    };
    const Image resized = resize(raster(c.tensors.at("input"), 0.f), height, width);
    const Tensor& expected = c.tensors.at("output");
    REQUIRE(static_cast<std::int64_t>(resized.pixels.size()) == expected.numel());
    double worst = 0;
    for (std::size_t i = 0; i < resized.pixels.size(); ++i)
      worst = std::max(worst, std::abs(double{resized.pixels[i]} - expected.data<float>()[i]));
    // Values in 0..1; weights and sums in float32.
    CHECK(worst <= 0x1p-21);
    const ImageU8 mask =
        resize_nearest(raster(c.tensors.at("mask"), std::uint8_t{0}), height, width);
    CHECK(mask.pixels == raster(c.tensors.at("mask_output"), std::uint8_t{0}).pixels);
  }
}
