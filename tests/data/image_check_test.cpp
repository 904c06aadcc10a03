#include "data/image_check.h"

#include "data/encode.h"
#include "data/phantom.h"
#include "tests/data/image_files.h"
#include "tests/data/support.h"

using namespace thorax;
using namespace thorax::test;

namespace {

std::string blank(const Bytes& bytes) {
  ImageFacts facts;
  decode_gray(bytes, "x", {}, &facts);
  return blank_reason(facts);
}

}  // namespace

TEST_CASE("image check: constant, nearly constant and transparent images show nothing") {
  CHECK(contains(blank(encode_png(ImageU8(40, 30, 1, 90))), "lie within 0.0 of 255 levels"));
  CHECK(contains(blank(encode_png(ImageU8(1, 1, 3, 0))), "lie within"));
  ImageU8 dotted(100, 100, 1, 90);
  for (int i = 0; i < 30; ++i) dotted.at(i, i) = 255;  // a marker of 0.3 %
  CHECK(contains(blank(encode_png(dotted)), "lie within 0.0"));
  ImageU8 noisy(100, 100);
  std::mt19937 random(1);
  for (auto& v : noisy.pixels) v = static_cast<uint8_t>(90 + random() % 2);
  CHECK(contains(blank(encode_png(noisy)), "lie within 1.0 of 255 levels"));
  for (auto& v : noisy.pixels) v = static_cast<uint8_t>(90 + random() % 4);
  CHECK(blank(encode_png(noisy)).empty());
  std::vector<uint8_t> clear;
  for (int i = 0; i < 256; ++i) clear.insert(clear.end(), {static_cast<uint8_t>(i), 0});
  CHECK(contains(blank(png_file<uint8_t>(16, 16, 4, 2, clear)), "fully transparent"));

  TempFolder tmp;
  save_image(tmp / "flat.png", ImageU8(40, 30, 1, 90));
  CHECK_ERROR(load_radiograph(tmp / "flat.png", Intensity::depth),
              "flat.png: shows nothing: 99 % of");
  CHECK_ERROR(load_radiograph(tmp / "flat.png", Intensity::percentiles), "shows nothing");
}

TEST_CASE("image check: a photographic negative is told from a radiograph") {
  PhantomConfig config;
  config.size = 96;
  config.patients = 6;
  for (const auto& [patient, number] : phantom_list(config)) {
    Image image = make_phantom(config, patient, number).image;
    CHECK(chest_likeness(image) > 0.2);
    CHECK_FALSE(looks_inverted(image));
    const double before = chest_likeness(image);
    for (float& v : image.pixels) v = 1 - v;
    CHECK(chest_likeness(image) == doctest::Approx(-before).epsilon(1e-3));
    CHECK(looks_inverted(image));
  }
  CHECK(chest_likeness(Image(10, 10, 1, 0.5f)) == 0);
}

TEST_CASE("image check: notes are said once, with their files") {
  ReadingNotes notes;
  for (int i = 0; i < 5; ++i) notes.add("turned", "folder/" + std::to_string(i) + ".png");
  notes.add("other", "x.jpg");
  CHECK(notes.lines() == std::vector<std::string>{"other: 1 image (x.jpg)",
                                                  "turned: 5 images (0.png, 1.png, 2.png, ...)"});
  ImageFacts facts;
  facts.info.format = "png";
  facts.info.bits = facts.info.sample_bits = 16;
  facts.info.channels = 2;
  facts.info.orientation = 6;
  facts.depth = facts.common_depth = 12;
  CHECK(reading_notes(facts, Intensity::depth) ==
        std::vector<std::string>{"turned as EXIF orientation 6 says",
                                 "12-bit values in 16 bits, read as 12-bit", "alpha ignored"});
  CHECK(contains(reading_notes(facts, Intensity::full)[1], "full range"));
}
