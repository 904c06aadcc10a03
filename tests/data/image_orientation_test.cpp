#include "data/image_orientation.h"

#include "data/decode.h"
#include "data/decode_mask.h"
#include "data/encode.h"
#include "tests/data/image_files.h"
#include "tests/data/support.h"

using namespace thorax;
using namespace thorax::test;

namespace {

// What an application shows for the stored rows "abc", "def", by EXIF 2.32, 4.6.4 A.
const std::vector<std::vector<std::string>> kShown = {
    {"abc", "def"},     {"cba", "fed"},     {"fed", "cba"},     {"def", "abc"},
    {"ad", "be", "cf"}, {"da", "eb", "fc"}, {"fc", "eb", "da"}, {"cf", "be", "ad"}};

Raster<char> letters(const std::vector<std::string>& rows) {
  Raster<char> out(static_cast<int>(rows.size()), static_cast<int>(rows[0].size()));
  for (int y = 0; y < out.height; ++y)
    for (int x = 0; x < out.width; ++x)
      out.at(y, x) = rows[static_cast<size_t>(y)][static_cast<size_t>(x)];
  return out;
}

// Twelve blocks of 8 x 8, so that a JPEG keeps their grays.
ImageU8 blocks() {
  ImageU8 image(24, 32);
  for (int y = 0; y < 24; ++y)
    for (int x = 0; x < 32; ++x) image.at(y, x) = static_cast<uint8_t>(20 * (4 * (y / 8) + x / 8));
  return image;
}

}  // namespace

TEST_CASE("orientation: all eight") {
  for (int o = 1; o <= 8; ++o) {
    CAPTURE(o);
    const Raster<char> shown = turned(letters({"abc", "def"}), o);
    const Raster<char> wanted = letters(kShown[static_cast<size_t>(o - 1)]);
    CHECK(shown.height == wanted.height);
    CHECK(shown.pixels == wanted.pixels);
    CHECK(swaps_sides(o) == (shown.height == 3));
  }
}

TEST_CASE("orientation: JPEG and PNG are decoded turned, and say so") {
  const Bytes jpeg = encode_jpeg(blocks(), 95);
  const Image stored = decode_gray(jpeg, "x");
  for (int o = 1; o <= 8; ++o)
    for (const bool little : {false, true}) {
      CAPTURE(o);
      CAPTURE(little);
      ImageFacts facts;
      const Image shown = decode_gray(with_exif(jpeg, o, little), "x", {}, &facts);
      const Image wanted = turned(stored, o);
      CHECK(shown.height == wanted.height);
      CHECK(shown.pixels == wanted.pixels);
      CHECK(facts.info.orientation == o);
      CHECK(facts.info.height == shown.height);
      CHECK(facts.info.width == shown.width);
      const Bytes png =
          png_file<uint8_t>(32, 24, 0, 1, blocks().pixels, {chunk("eXIf", exif(o, little))});
      CHECK(decode_gray(png, "x").pixels == turned(to_float(blocks()), o).pixels);
    }
  TempFolder tmp;
  write_bytes(tmp / "six.jpg", with_exif(jpeg, 6));
  CHECK(read_image_info(tmp / "six.jpg").height == 32);
  CHECK(read_image_info(tmp / "six.jpg").width == 24);
}

TEST_CASE("orientation: masks turn by their own") {
  TempFolder tmp;
  std::vector<uint8_t> mask = {0, 0, 255, 0, 0, 0};
  write_bytes(tmp / "plain.png", png_file<uint8_t>(3, 2, 0, 1, mask));
  write_bytes(tmp / "turned.png", png_file<uint8_t>(3, 2, 0, 1, mask, {chunk("eXIf", exif(6))}));
  CHECK(load_mask(tmp / "plain.png").pixels == mask);
  const ImageU8 six = load_mask(tmp / "turned.png");
  CHECK(six.height == 3);
  CHECK(six.pixels == std::vector<uint8_t>{0, 0, 0, 0, 0, 255});
}

TEST_CASE("orientation: broken metadata changes nothing and refuses nothing") {
  const Bytes good = exif(6);
  for (size_t n = 0; n < good.size(); ++n) {
    const Bytes cut(good.begin(), good.begin() + static_cast<ptrdiff_t>(n));
    const int o = exif_orientation(cut);
    CHECK((o == 1 || (o == 6 && n >= 22)));
  }
  std::mt19937 random(2);
  for (int round = 0; round < 2000; ++round) {
    Bytes noisy = good;
    for (int k = 0; k < 3; ++k) noisy[random() % noisy.size()] = static_cast<uint8_t>(random());
    const int o = exif_orientation(noisy);
    CHECK((o >= 1 && o <= 8));
  }
  CHECK(exif_orientation(exif(9)) == 1);
  CHECK(exif_orientation(exif(0)) == 1);
}
