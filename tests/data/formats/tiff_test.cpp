// By tifffile and Pillow (tests/data/golden/make_formats.py). In a build without libtiff only that
// the format is refused is left to test (tests/data/folder_files_test.cpp).
#include "data/formats/tiff.h"

#include "data/formats/format.h"
#include "tests/data/formats/golden_formats.h"

using namespace thorax;
using namespace thorax::test;

namespace {

bool built_in() {
  if (!tiff_reader().empty()) return true;
  std::cerr << "SKIPPED: a build without libtiff\n";
  return false;
}

const auto kGray8 = [](int n, int) { return static_cast<float>(n) / 255.f; };
const auto kGray12 = [](int n, int) { return static_cast<float>(18 * n) / 4095.f; };
const auto kGray16 = [](int n, int) { return static_cast<float>(297 * n) / 65535.f; };
const auto kRgb = [](int n, int c) {
  return static_cast<float>(c == 0 ? n : c == 1 ? 220 - n : n / 2) / 255.f;
};

// A little-endian TIFF of these tags (each a LONG) around 100 bytes of data at byte 8.
Bytes tiff(const std::vector<std::pair<uint16_t, uint32_t>>& tags) {
  Bytes out = {'I', 'I', 42, 0, 108, 0, 0, 0};
  out.insert(out.end(), 100, 7);
  const auto put = [&](uint32_t v, int bytes) {
    for (int i = 0; i < bytes; ++i) out.push_back(static_cast<uint8_t>(v >> 8 * i));
  };
  put(static_cast<uint32_t>(tags.size()), 2);
  for (const auto& [tag, value] : tags) put(tag, 2), put(4, 2), put(1, 4), put(value, 4);
  put(0, 4);
  return out;
}

using Tags = std::vector<std::pair<uint16_t, uint32_t>>;
Tags good_tags() {
  return {{256, 10}, {257, 10}, {258, 8},  {259, 1},  {262, 1},
          {273, 8},  {277, 1},  {278, 10}, {279, 100}};
}
Bytes tiff_with(uint16_t tag, uint32_t value) {
  Tags tags = good_tags();
  for (auto& [t, v] : tags)
    if (t == tag) {
      v = value;
      return tiff(tags);
    }
  tags.emplace_back(tag, value);
  std::sort(tags.begin(), tags.end());
  return tiff(tags);
}

}  // namespace

TEST_CASE("tiff: gray of 8, 12 and 16 bits, strips and tiles, compressions, byte orders") {
  if (!built_in()) return;
  for (const char* name :
       {"gray8.tif", "gray8_lzw.tif", "gray8_packbits.tif", "white_is_zero8.tif"}) {
    CAPTURE(name);
    check_golden(load_gray(golden_format(name)), kGray8);
  }
  for (const char* name : {"gray16_deflate_be.tif", "gray16_tiles_big.tif"}) {
    CAPTURE(name);
    ImageFacts facts;
    check_golden(load_gray(golden_format(name), {}, &facts), kGray16);
    CHECK(facts.depth == 16);
    CHECK(facts.info.format == "tiff");
  }
  for (const char* name : {"gray12.tif", "gray12_in_16.tif"}) {
    CAPTURE(name);
    ImageFacts facts;
    check_golden(load_gray(golden_format(name), {}, &facts), kGray12);
    CHECK(facts.depth == 12);
  }
  // 12 bits that were turned over before they were put into 16: black is 4095, not 65535.
  check_golden(load_gray(golden_format("white_is_zero12_in_16.tif")), kGray12);
  check_golden(load_gray(golden_format("gray12.tif"), {.intensity = Intensity::full}), kGray12);
}

TEST_CASE("tiff: one bit, palette, colour, alpha, JPEG") {
  if (!built_in()) return;
  for (const char* name : {"bit1.tif", "bit1_g4.tif"}) {
    CAPTURE(name);
    check_golden(load_gray(golden_format(name)), [](int n, int) { return n % 3 == 0 ? 1.f : 0.f; });
    const MaskPixels mask = load_mask_pixels(golden_format(name));
    CHECK(mask.top == 1);
    for (size_t i = 0; i < mask.values.pixels.size(); ++i)
      CHECK(mask.values.pixels[i] == (i % 3 == 0 ? 1 : 0));
  }
  check_golden(load_image(golden_format("palette.tif")), [](int n, int c) {
    return static_cast<float>(c == 0 ? n : c == 1 ? 255 - n : n / 2) / 255.f;
  });
  const MaskPixels indices = load_mask_pixels(golden_format("palette.tif"));
  for (size_t i = 0; i < indices.values.pixels.size(); ++i) CHECK(indices.values.pixels[i] == i);
  for (const char* name : {"rgb.tif", "rgb_planes.tif", "rgba_tiles.tif"}) {
    CAPTURE(name);
    const Image image = load_image(golden_format(name));
    CHECK(image.channels == 3);
    check_golden(image, kRgb);
  }
  ImageFacts facts;
  const Image jpeg = load_gray(golden_format("jpeg_ycc.tif"), {}, &facts);
  CHECK(facts.info.lossy);
  REQUIRE(jpeg.width == 64);
  for (int y = 0; y < 48; ++y)
    for (int x = 0; x < 64; ++x)
      CHECK(std::abs(jpeg.at(y, x) - static_cast<float>(2 * y + x) / 255) < 3.f / 255);
}

TEST_CASE("tiff: real, signed and 32-bit numbers go by the rule of NumPy's") {
  if (!built_in()) return;
  ImageFacts facts;
  const auto line = [](int n, int) { return static_cast<float>(n) / 220.f; };
  check_golden(load_gray(golden_format("real.tif"), {}, &facts), line, 0.5f / 65535);
  CHECK(facts.info.notes.empty());
  check_golden(load_gray(golden_format("real_wide.tif"), {}, &facts), line, 0.5f / 65535);
  CHECK(has_note(facts, "its largest white (here -1000 and 1200)"));
  check_golden(load_gray(golden_format("signed16.tif"), {}, &facts), line, 0.5f / 65535);
  check_golden(load_gray(golden_format("whole32.tif")), kGray8);
  const MaskPixels mask = load_mask_pixels(golden_format("whole32.tif"));
  for (size_t i = 0; i < mask.values.pixels.size(); ++i) CHECK(mask.values.pixels[i] == i);
}

TEST_CASE("tiff: orientation is applied, the first of several pages is read, a mask has one") {
  if (!built_in()) return;
  const Image turned = load_gray(golden_format("orientation6.tif"));
  REQUIRE(turned.height == 17);
  REQUIRE(turned.width == 13);
  // Turned clockwise: the stored first column, from its end, is the first row.
  for (int x = 0; x < 13; ++x) CHECK(turned.at(0, x) == static_cast<float>(17 * (12 - x)) / 255.f);
  CHECK(read_image_info(golden_format("orientation6.tif")).height == 17);
  ImageFacts facts;
  check_golden(load_gray(golden_format("pages.tif"), {}, &facts), kGray8);
  CHECK(has_note(facts, "several pages, the first one is read"));
  CHECK_ERROR(load_mask_pixels(golden_format("pages.tif")), "pages.tif: a tiff of 2 pages");
}

TEST_CASE("tiff: what is refused, with file and rule") {
  if (!built_in()) return;
  CHECK(decode_gray(tiff(good_tags()), "x").pixels == std::vector<float>(100, 7 / 255.f));
  const auto refused = [](uint16_t tag, uint32_t value, const std::string& why) {
    CHECK_ERROR(decode_gray(tiff_with(tag, value), "x.tif"), "x.tif: ");
    CHECK_ERROR(decode_gray(tiff_with(tag, value), "x.tif"), why);
  };
  refused(256, 60000, "tiff header says 60000x10 pixels, the limit is 20000 a side");
  refused(257, 0xFFFFFFFF, "corrupt or truncated tiff");
  refused(258, 7, "tiff of 7 bits a sample");
  refused(259, 6, "tiff compression 6 is not read");
  refused(259, 4242, "tiff compression 4242 is not read");
  refused(262, 5, "tiff of photometric interpretation 5");
  refused(277, 17, "corrupt tiff");
  refused(273, 5000, "corrupt or truncated tiff");
}

TEST_CASE("tiff: a tile far larger than the image takes no memory") {
  if (!built_in()) return;
  Tags tags = good_tags();
  for (auto& [tag, value] : tags) {
    if (tag == 273) tag = 324;
    if (tag == 278) tag = 322, value = 19984;
    if (tag == 279) tag = 325;
  }
  tags.emplace_back(323, 19984);
  std::sort(tags.begin(), tags.end());
  CHECK_ERROR(decode_gray(tiff(tags), "x"), "blocks of 19984x19984 pixels in an image of 10x10");
}
