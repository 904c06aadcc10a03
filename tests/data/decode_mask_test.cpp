#include "data/decode_mask.h"

#include "data/encode.h"
#include "data/resize.h"
#include "tests/data/image_files.h"
#include "tests/data/support.h"

using namespace thorax;
using namespace thorax::test;

namespace {

constexpr int kSide = 32;

// Two "lungs" of 8 x 16 in 32 x 32 with these values, on `outside`.
std::vector<uint8_t> lungs(int left, int right, int outside = 0) {
  std::vector<uint8_t> v(kSide * kSide, static_cast<uint8_t>(outside));
  for (int y = 8; y < 24; ++y)
    for (int x = 4; x < 12; ++x) {
      v[static_cast<size_t>(y * kSide + x)] = static_cast<uint8_t>(left);
      v[static_cast<size_t>(y * kSide + x + 16)] = static_cast<uint8_t>(right);
    }
  return v;
}

const std::vector<uint8_t> kWanted = lungs(255, 255);

Bytes gray(const std::vector<uint8_t>& v) {
  return png_file<uint8_t>(kSide, kSide, 0, 1, v);
}

// Files in one folder, as one data set.
struct Set {
  TempFolder tmp;
  std::vector<std::filesystem::path> files;
  void add(const Bytes& bytes, const std::string& extension = ".png") {
    files.push_back(tmp / ("m" + std::to_string(files.size()) + extension));
    write_bytes(files.back(), bytes);
  }
  MaskRule decide() const {
    std::vector<MaskValues> values;
    for (const auto& file : files)
      values.push_back(mask_values(load_mask_pixels(file), file.string()));
    return decide_mask_rule(values);
  }
  ImageU8 load(size_t i, const MaskRule& rule) const { return load_mask(files[i], rule); }
};

// The only file of a set.
std::vector<uint8_t> alone(const Bytes& bytes, const std::string& extension = ".png") {
  Set set;
  set.add(bytes, extension);
  return set.load(0, set.decide()).pixels;
}

}  // namespace

TEST_CASE("masks: 0/1, 0/255, 0/n, one bit, 16 bits, label maps") {
  CHECK(alone(gray(kWanted)) == kWanted);
  CHECK(alone(gray(lungs(1, 1))) == kWanted);
  CHECK(alone(gray(lungs(128, 128))) == kWanted);
  CHECK(alone(gray(lungs(1, 2))) == kWanted);
  CHECK(alone(gray(lungs(3, 17))) == kWanted);
  std::vector<uint16_t> deep;
  for (const uint8_t v : kWanted) deep.push_back(v ? 1 : 0);
  CHECK(alone(png_file<uint16_t>(kSide, kSide, 0, 1, deep)) == kWanted);
  for (uint16_t& v : deep) v = v ? 65535 : 0;
  CHECK(alone(png_file<uint16_t>(kSide, kSide, 0, 1, deep)) == kWanted);
  // Two bits a sample: what is stored counts, not what it is scaled to.
  Bytes raw;
  for (int y = 0; y < kSide; ++y) {
    raw.push_back(0);
    for (int x = 0; x < kSide; x += 4) {
      int byte = 0;
      for (int k = 0; k < 4; ++k)
        byte = byte << 2 | (kWanted[static_cast<size_t>(y * kSide + x + k)] ? 1 : 0);
      raw.push_back(static_cast<uint8_t>(byte));
    }
  }
  CHECK(alone(png({chunk("IHDR", header(kSide, kSide, 2, 0)), chunk("IDAT", stored(raw)),
                   chunk("IEND", {})})) == kWanted);
}

TEST_CASE("masks: palettes by index, colours by their background") {
  const Bytes palette = chunk("PLTE", {10, 10, 10, 200, 0, 0, 0, 200, 0});
  CHECK(alone(png_file<uint8_t>(kSide, kSide, 3, 1, lungs(1, 2), {palette})) == kWanted);
  // Its colours are dark, and by brightness it would be empty.
  const Bytes dark = chunk("PLTE", {0, 0, 0, 9, 9, 9});
  CHECK(alone(png_file<uint8_t>(kSide, kSide, 3, 1, lungs(1, 1), {dark})) == kWanted);
  for (const bool alpha : {false, true})
    for (const int background : {0, 255}) {
      std::vector<uint8_t> v;
      for (const uint8_t inside : lungs(1, 2)) {
        for (const int c :
             {inside == 1 ? 200 : background, inside == 2 ? 90 : background, background})
          v.push_back(static_cast<uint8_t>(c));
        if (alpha) v.push_back(255);
      }
      CHECK(alone(png_file<uint8_t>(kSide, kSide, alpha ? 6 : 2, alpha ? 4 : 3, v)) == kWanted);
    }
  // Gray in three channels is gray.
  std::vector<uint8_t> v;
  for (const uint8_t inside : lungs(1, 1)) v.insert(v.end(), 3, inside);
  CHECK(alone(png_file<uint8_t>(kSide, kSide, 2, 3, v)) == kWanted);
}

TEST_CASE("masks: smooth edges and JPEG") {
  ImageU8 large(4 * kSide, 4 * kSide);
  for (int y = 0; y < large.height; ++y)
    for (int x = 0; x < large.width; ++x)
      if ((y - 64) * (y - 64) + (x - 64) * (x - 64) < 40 * 40) large.at(y, x) = 255;
  const ImageU8 smooth = to_u8(resize(to_float(large), 100, 100));
  Set set;
  set.add(encode_png(smooth));
  set.add(encode_png(ImageU8(100, 100)));
  const MaskRule rule = set.decide();
  CHECK(rule == MaskRule{MaskRule::Kind::half, 255, {}});
  const ImageU8 mask = set.load(0, rule);
  for (size_t i = 0; i < mask.pixels.size(); ++i)
    CHECK((mask.pixels[i] != 0) == (smooth.pixels[i] >= 128));
  CHECK(mask_area(set.load(1, rule)) == 0);
  // Ringing around both poles of a JPEG.
  Set photo;
  photo.add(encode_jpeg(large, 60), ".jpg");
  const ImageU8 from_jpeg = photo.load(0, photo.decide());
  int64_t wrong = 0;
  for (size_t i = 0; i < large.pixels.size(); ++i) wrong += from_jpeg.pixels[i] != large.pixels[i];
  CHECK(wrong < 60);
}

TEST_CASE("masks: one rule for the set") {
  // A file that is all inside, and one that is all outside, of 0/1 masks.
  Set set;
  set.add(gray(lungs(1, 1)));
  set.add(gray(std::vector<uint8_t>(kSide * kSide, 1)));
  set.add(gray(std::vector<uint8_t>(kSide * kSide, 0)));
  const MaskRule rule = set.decide();
  CHECK(rule.kind == MaskRule::Kind::nonzero);
  CHECK(mask_area(set.load(1, rule)) == kSide * kSide);
  CHECK(mask_area(set.load(2, rule)) == 0);
  // 1 among 255: full brightness, or a label?
  set.add(gray(kWanted));
  CHECK_ERROR(set.decide(), "m0.png: 25.0 % of its pixels have the value 1, and 0 and 255");
  CHECK_ERROR(set.decide(), "say which values are inside by mask_values=");
  // One bit a pixel beside 0/255 is no contradiction.
  Set mixed;
  Bytes raw;
  for (int y = 0; y < kSide; ++y) {
    raw.push_back(0);
    raw.insert(raw.end(), 4, static_cast<uint8_t>(y > 8 && y < 20 ? 0x3C : 0));
  }
  mixed.add(png(
      {chunk("IHDR", header(kSide, kSide, 1, 0)), chunk("IDAT", stored(raw)), chunk("IEND", {})}));
  mixed.add(gray(kWanted));
  CHECK(mask_area(mixed.load(0, mixed.decide())) == 11 * 16);
  CHECK(mixed.load(1, mixed.decide()).pixels == kWanted);
}

TEST_CASE("masks: what is in doubt is refused, with file, values and remedy") {
  CHECK_ERROR(alone(gray(lungs(85, 255))), "12.5 % of its pixels have the value 85");
  CHECK_ERROR(alone(gray(lungs(1, 255))), "it has the values 0 (75.0 %), 1 (12.5 %), 255 (12.5 %)");
  CHECK_ERROR(alone(gray(lungs(2, 2, 1))), "values are neither labels nor an outside of 0");
  CHECK_ERROR(alone(gray(std::vector<uint8_t>(kSide * kSide, 7))), "all masks have one value");
  CHECK_ERROR(alone(gray(lungs(0, 0, 255))),
              "all four corners would be inside, as in 1 of 1 masks");
  CHECK_ERROR(alone(gray(lungs(0, 0, 255))), "mask_values=0");
  // White first in the palette: by index the background would be lung.
  CHECK_ERROR(alone(png_file<uint8_t>(kSide, kSide, 3, 1, lungs(0, 0, 1),
                                      {chunk("PLTE", {255, 255, 255, 0, 0, 0})})),
              "all four corners would be inside");
  // A photograph.
  std::vector<uint8_t> photo(kSide * kSide);
  for (size_t i = 0; i < photo.size(); ++i) photo[i] = static_cast<uint8_t>(i / 4);
  CHECK_ERROR(alone(gray(photo)), "are neither near 0 nor near 255");
  // Hidden in alpha.
  std::vector<uint8_t> hidden;
  for (const uint8_t v : kWanted) hidden.insert(hidden.end(), {0, v});
  CHECK_ERROR(alone(png_file<uint8_t>(kSide, kSide, 4, 2, hidden)), "only alpha differs");
  // Colours without one background, and backgrounds that differ between files.
  std::vector<uint8_t> torn;
  for (int i = 0; i < kSide * kSide; ++i)
    torn.insert(torn.end(), {static_cast<uint8_t>(i % kSide < 16 ? 200 : 0), 0, 90});
  CHECK_ERROR(alone(png_file<uint8_t>(kSide, kSide, 2, 3, torn)), "corners have different colours");
  Set set;
  for (const uint8_t background : {0, 255}) {
    std::vector<uint8_t> v;
    for (const uint8_t inside : kWanted)
      v.insert(v.end(), {background, inside ? uint8_t{100} : background, background});
    set.add(png_file<uint8_t>(kSide, kSide, 2, 3, v));
  }
  CHECK_ERROR(set.decide(), "background has the colour (255, 255, 255), that of");
}

TEST_CASE("masks: a rule that is named is followed") {
  Set set;
  set.add(gray(lungs(1, 2)));
  set.add(gray(lungs(0, 0, 255)));
  set.add(gray(lungs(85, 255)));
  CHECK(set.load(0, parse_mask_rule("2")).pixels == lungs(0, 255));
  CHECK(set.load(0, parse_mask_rule("2+1")).pixels == kWanted);
  CHECK(set.load(1, parse_mask_rule("0")).pixels == kWanted);
  CHECK(set.load(2, parse_mask_rule("nonzero")).pixels == kWanted);
  CHECK(set.load(2, parse_mask_rule("half")).pixels == lungs(0, 255));
  CHECK(set.load(2, parse_mask_rule("half:100")).pixels == kWanted);
  for (const char* text : {"auto", "nonzero", "half", "half:200", "1", "1+2"})
    CHECK(to_string(parse_mask_rule(text)) == text);
  for (const char* text : {"", "1+", "a", "1,2", "-1", "70000", "half:", "half:0", "half:1+2"})
    CHECK_ERROR(parse_mask_rule(text), "[mask] mask_values=" + std::string(text));
  std::vector<uint8_t> red;
  for (const uint8_t v : kWanted) red.insert(red.end(), {v, 0, 0});
  set.add(png_file<uint8_t>(kSide, kSide, 2, 3, red));
  CHECK_ERROR(set.load(3, parse_mask_rule("1")),
              "is coloured, and mask_values=1 names gray values");
}
