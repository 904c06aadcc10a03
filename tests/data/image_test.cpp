#include "data/image.h"

#include <cmath>
#include <cstring>

#include "data/decode.h"
#include "data/decode_mask.h"
#include "data/encode.h"
#include "data/resize.h"
#include "engine/io/atomic_file.h"
#include "tests/data/support.h"
#include "tests/support/places.h"

using namespace thorax;
using namespace thorax::test;

namespace {

const std::filesystem::path kGolden = thorax::test::source_folder() / "tests/data/golden";

Image pattern(int channels) {
  Image image(37, 53, channels);
  for (int y = 0; y < 37; ++y)
    for (int x = 0; x < 53; ++x)
      for (int c = 0; c < channels; ++c)
        image.at(y, x, c) = static_cast<float>((y * 31 + x * 17 + c * 7) % 101) / 100.f;
  return image;
}

}  // namespace

TEST_CASE("resize: antialiased, as PyTorch does it") {
  const int sizes[][3] = {{1, 12, 20}, {1, 37, 19}, {1, 64, 80}, {1, 9, 53},
                          {1, 5, 5},   {3, 14, 90}, {1, 1, 1}};
  const auto bytes = read_file(kGolden / "resize.f32", 1 << 20);
  size_t at = 0;
  for (const auto& [channels, height, width] : sizes) {
    const Image out = resize(pattern(channels), height, width);
    REQUIRE(at + out.pixels.size() * 4 <= bytes.size());
    float worst = 0;
    for (const float v : out.pixels) {
      float wanted;
      std::memcpy(&wanted, bytes.data() + at, 4);
      at += 4;
      worst = std::max(worst, std::abs(v - wanted));
    }
    CAPTURE(height);
    CAPTURE(width);
    // Both sum at most 75*2+1 products of weights that sum to 1 and pixels up to 1, in float32.
    CHECK(worst < 151 * 6e-8f);
  }
  CHECK(at == bytes.size());
}

TEST_CASE("resize: constant stays constant, same size is the identity, bad sizes throw") {
  for (const int n : {1, 3, 7, 100}) {
    const Image out = resize(Image(13, 29, 1, 0.7f), n, n + 1);
    for (const float v : out.pixels) CHECK(v == doctest::Approx(0.7f).epsilon(1e-6));
  }
  CHECK(resize(pattern(1), 37, 53).pixels == pattern(1).pixels);
  CHECK_ERROR(resize(Image(), 3, 3), "[resize] 0x0x0 to 3x3: sizes must be positive");
  CHECK_ERROR(resize(pattern(1), 0, 3), "sizes must be positive");
}

TEST_CASE("resize_nearest: keeps values, samples centres") {
  ImageU8 mask(2, 2, 1);
  mask.pixels = {0, 255, 7, 9};
  const ImageU8 big = resize_nearest(mask, 4, 4);
  CHECK(big.pixels == std::vector<uint8_t>{0, 0, 255, 255, 0, 0, 255, 255, 7, 7, 9, 9, 7, 7, 9, 9});
  CHECK(resize_nearest(big, 2, 2).pixels == mask.pixels);
  ImageU8 row(1, 5, 1);
  row.pixels = {0, 1, 2, 3, 4};
  CHECK(resize_nearest(row, 1, 3).pixels == std::vector<uint8_t>{0, 2, 4});
}

TEST_CASE("gray, crop, letterbox, masks") {
  Image color(1, 2, 3);
  color.pixels = {1, 0, 0, 0.5f, 0.5f, 0.5f};
  CHECK(to_gray(color).at(0, 0) == doctest::Approx(0.299));
  CHECK(to_gray(color).at(0, 1) == 0.5f);
  color.pixels = {0, 1, 0, 0, 0, 1};
  CHECK(to_gray(color).at(0, 0) == doctest::Approx(0.587));
  CHECK(to_gray(color).at(0, 1) == doctest::Approx(0.114));
  CHECK_ERROR(to_gray(Image(1, 1, 2)), "to_gray wants 1 or 3 channels");

  Image small(2, 2, 1);
  small.pixels = {1, 2, 3, 4};
  CHECK(crop(small, -1, 1, 3, 2, 9.f).pixels == std::vector<float>{9, 9, 2, 9, 4, 9});
  CHECK(crop(small, 5, 5, 1, 1, 9.f).pixels == std::vector<float>{9});

  const Image boxed = letterbox(Image(10, 20, 1, 1.f), 8, 8);
  CHECK(boxed.at(1, 0) == 0.f);
  CHECK(boxed.at(2, 0) == 1.f);
  CHECK(boxed.at(5, 7) == 1.f);
  CHECK(boxed.at(6, 7) == 0.f);
  const ImageU8 boxed_mask = letterbox_nearest(ImageU8(10, 20, 1, 255), 8, 8);
  CHECK(mask_area(boxed_mask) == 32);
  const Image cropped = resize_and_center_crop(pattern(1), 20, 20);
  CHECK(cropped.height == 20);
  CHECK(cropped.width == 20);

  ImageU8 a(1, 3, 1), b(1, 3, 1);
  a.pixels = {0, 255, 0};
  b.pixels = {0, 0, 1};
  CHECK(merge_masks(a, b).pixels == std::vector<uint8_t>{0, 255, 255});
  CHECK_ERROR(merge_masks(a, ImageU8(1, 2, 1)), "cannot be merged");
  CHECK(to_u8(Image(1, 1, 1, NAN)).pixels[0] == 0);
  CHECK(to_u8(Image(1, 1, 1, 2.f)).pixels[0] == 255);
  CHECK(to_u8(Image(1, 1, 1, 0.5f)).pixels[0] == 128);
}

TEST_CASE("PNG round trips exactly, 8 and 16 bits, gray and colour") {
  std::mt19937 random(3);
  for (const int channels : {1, 3}) {
    ImageU8 image(23, 17, channels);
    for (auto& v : image.pixels) v = static_cast<uint8_t>(random());
    CHECK(to_u8(decode_image(encode_png(image), "x")).pixels == image.pixels);
    ImageU16 deep(23, 17, channels);
    for (auto& v : deep.pixels) v = static_cast<uint16_t>(random());
    const auto bytes = encode_png(deep);
    CHECK(check_container(bytes, "x").bits == 16);
    CHECK(to_u16(decode_image(bytes, "x")).pixels == deep.pixels);
  }
  CHECK_ERROR(encode_png(ImageU8(2, 2, 2)), "1 or 3 channels");
  CHECK_ERROR(encode_png(ImageU8()), "size above zero");
}

TEST_CASE("JPEG stays close") {
  ImageU8 image(40, 50, 1);
  for (int y = 0; y < 40; ++y)
    for (int x = 0; x < 50; ++x) image.at(y, x) = static_cast<uint8_t>(3 * y + 2 * x);
  const Image back = decode_gray(encode_jpeg(image, 95), "x");
  REQUIRE(back.height == 40);
  for (int y = 0; y < 40; ++y)
    for (int x = 0; x < 50; ++x) CHECK(std::abs(back.at(y, x) * 255 - image.at(y, x)) < 6);
  CHECK_ERROR(encode_jpeg(image, 0), "quality 0");
}

TEST_CASE(
    "encodings thorax does not write: alpha (ignored), palette, 1 bit, interlaced, progressive, "
    "CMYK") {
  const auto v = [](int y, int x) { return (5 * y + 3 * x) % 256; };
  const Image alpha = load_image(kGolden / "alpha16.png");
  const Image palette = load_image(kGolden / "palette.png");
  const Image bit = load_image(kGolden / "bit1.png");
  const Image interlaced = load_image(kGolden / "interlaced.png");
  const Image progressive = load_image(kGolden / "progressive.jpg");
  const Image color = load_image(kGolden / "color_progressive.jpg");
  const Image cmyk = load_image(kGolden / "cmyk.jpg");
  CHECK(alpha.channels == 1);
  CHECK(palette.channels == 3);
  CHECK(cmyk.channels == 3);
  for (int y = 0; y < 20; ++y)
    for (int x = 0; x < 30; ++x) {
      CHECK(alpha.at(y, x) == doctest::Approx(v(y, x) / 255.0).epsilon(1e-5));
      CHECK(palette.at(y, x, 0) * 255 == doctest::Approx(v(y, x)));
      CHECK(palette.at(y, x, 1) * 255 == doctest::Approx(255 - v(y, x)));
      CHECK(palette.at(y, x, 2) * 255 == doctest::Approx(7));
      CHECK(bit.at(y, x) == static_cast<float>((y + x) % 2));
      CHECK(interlaced.at(y, x) * 255 == doctest::Approx(v(y, x)));
      const int s = 4 * (y + x);
      CHECK(std::abs(progressive.at(y, x) * 255 - s) < 4);
      CHECK(std::abs(color.at(y, x, 0) * 255 - s) < 12);
      CHECK(std::abs(cmyk.at(y, x, 0) * 255 - s) < 12);
    }
}

TEST_CASE("files: gray and mask loading, atomic writing") {
  TempFolder tmp;
  ImageU8 image(2, 2, 3);
  image.pixels = {255, 255, 255, 0, 0, 0, 0, 0, 0, 255, 255, 255};
  save_image(tmp / "m.png", image);
  CHECK(load_mask(tmp / "m.png").pixels == std::vector<uint8_t>{255, 0, 0, 255});
  CHECK(load_gray(tmp / "m.png").channels == 1);
  const ImageInfo info = read_image_info(tmp / "m.png");
  CHECK(info.format == "png");
  CHECK(info.channels == 3);
  CHECK_ERROR(save_image(tmp / "m.bmp", image), "extension must be .png, .jpg or .jpeg");
  CHECK_ERROR(save_image(tmp.path() / "none" / "m.png", image), "cannot be written");
  CHECK(std::distance(std::filesystem::directory_iterator(tmp.path()), {}) == 1);
}
