#include "data/decode.h"

#include <cmath>

#include "data/encode.h"
#include "data/image_check.h"
#include "tests/data/image_files.h"
#include "tests/data/support.h"

using namespace thorax;
using namespace thorax::test;

namespace {

// 16 x 16 values from 0 to `most`, evenly.
std::vector<uint16_t> ramp(int most) {
  std::vector<uint16_t> v(256);
  for (int i = 0; i < 256; ++i) v[static_cast<size_t>(i)] = static_cast<uint16_t>(i * most / 255);
  return v;
}

Bytes gray16(const std::vector<uint16_t>& v, const std::vector<Bytes>& extra = {}) {
  return png_file<uint16_t>(16, 16, 0, 1, v, extra);
}

}  // namespace

TEST_CASE("intensity: the depth of values in 16 bits") {
  for (const auto& [most, depth] : {std::pair{255, 8},
                                    {300, 10},
                                    {1023, 10},
                                    {1024, 12},
                                    {4095, 12},
                                    {4096, 14},
                                    {16383, 14},
                                    {16384, 16},
                                    {65535, 16}}) {
    CAPTURE(most);
    ImageFacts facts;
    const auto values = ramp(most);
    const Image image = decode_gray(gray16(values), "x", {}, &facts);
    CHECK(facts.depth == depth);
    const auto top = static_cast<float>((1 << depth) - 1);
    for (size_t i = 0; i < values.size(); ++i) CHECK(image.pixels[i] == values[i] / top);
    const Image full = decode_gray(gray16(values), "x", {.intensity = Intensity::full});
    for (size_t i = 0; i < values.size(); ++i) CHECK(full.pixels[i] == values[i] / 65535.f);
  }
  // A radiograph of 12 bits is the same one in 16 bits, whichever way it got there.
  std::vector<uint16_t> low = ramp(4095), high, eight;
  for (const uint16_t v : low) high.push_back(static_cast<uint16_t>(v << 4 | v >> 8));
  const Image a = decode_gray(gray16(low), "x"), b = decode_gray(gray16(high), "x");
  for (size_t i = 0; i < a.pixels.size(); ++i)
    CHECK(std::abs(a.pixels[i] - b.pixels[i]) < 1.f / 4095);
}

TEST_CASE("intensity: sBIT says the depth, unless the values were scaled up") {
  const Bytes twelve = chunk("sBIT", {12});
  ImageFacts facts;
  // An underexposed image of 12 bits: its values alone would fit into 10.
  Image image = decode_gray(gray16(ramp(1000), {twelve}), "x", {}, &facts);
  CHECK(facts.depth == 12);
  CHECK(image.pixels[255] == 1000 / 4095.f);
  std::vector<uint16_t> scaled = ramp(4095);
  for (uint16_t& v : scaled) v = static_cast<uint16_t>(v << 4 | v >> 8);
  image = decode_gray(gray16(scaled, {twelve}), "x", {}, &facts);
  CHECK(facts.depth == 16);
  CHECK(image.pixels[255] == 1.f);
  // Dark, and scaled up by zeros: its low bits say so.
  for (uint16_t& v : scaled) v = static_cast<uint16_t>(v >> 6 << 4);
  image = decode_gray(gray16(scaled, {twelve}), "x", {}, &facts);
  CHECK(facts.depth == 16);
  decode_gray(gray16(ramp(1000), {chunk("sBIT", {16})}), "x", {}, &facts);
  CHECK(facts.depth == 16);
  // In colour, the deepest channel; a chunk that says nothing possible is not used.
  decode_gray(png_file<uint16_t>(2, 1, 2, 3, {1, 2, 3, 4, 5, 4001}, {chunk("sBIT", {10, 10, 12})}),
              "x", {}, &facts);
  CHECK(facts.depth == 12);
  decode_gray(gray16(ramp(4095), {chunk("sBIT", {77})}), "x", {}, &facts);
  CHECK(facts.depth == 12);
  CHECK(effective_depth(0, 8, 0) == 8);
  CHECK(effective_depth(15, 8, 4) == 4);
  CHECK(effective_depth(0xF0, 8, 4) == 8);
  CHECK(effective_depth(4080, 16, 12) == 12);  // 8 bits stored as 12
  CHECK(effective_depth(0xFFF0, 16, 12) == 16);
}

TEST_CASE("intensity: a few bright pixels that decide the depth are said") {
  std::vector<uint16_t> v(200 * 200);
  for (size_t i = 0; i < v.size(); ++i) v[i] = static_cast<uint16_t>(i % 4096);
  const auto facts_of = [&] {
    ImageFacts facts;
    decode_gray(png_file<uint16_t>(200, 200, 0, 1, v), "x", {}, &facts);
    return facts;
  };
  CHECK(facts_of().common_depth == 12);
  CHECK(reading_notes(facts_of(), Intensity::depth).size() == 1);
  v[77] = 60000;
  v[78] = 60000;
  v[79] = 60000;
  ImageFacts facts = facts_of();
  CHECK(facts.depth == 16);
  CHECK(facts.common_depth == 12);
  REQUIRE(reading_notes(facts, Intensity::depth).size() == 1);
  CHECK(contains(reading_notes(facts, Intensity::depth)[0],
                 "less than 0.01 % of the pixels decide for 16 bits, all others fit in 12"));
  CHECK(reading_notes(facts, Intensity::percentiles).empty());
  v[80] = 60000;  // one in 10,000
  CHECK(facts_of().common_depth == 16);
}

TEST_CASE("intensity: percentiles") {
  // 1 % of the values at both ends are far out.
  std::vector<uint16_t> v(10000, 0);
  for (size_t i = 0; i < v.size(); ++i) v[i] = static_cast<uint16_t>(20000 + i);
  for (size_t i = 0; i < 40; ++i) v[i] = 0, v[v.size() - 1 - i] = 65535;
  const Image image = decode_gray(png_file<uint16_t>(100, 100, 0, 1, v), "x",
                                  {.intensity = Intensity::percentiles});
  CHECK(image.pixels[0] == 0);
  CHECK(image.pixels[9999] == 1);
  const double low = 20000 + 49, high = 20000 + 9950;
  for (size_t i = 100; i < 9900; i += 7)
    CHECK(image.pixels[i] == doctest::Approx((v[i] - low) / (high - low)).epsilon(1e-3));
  const Image flat =
      decode_gray(encode_png(ImageU8(9, 9, 1, 77)), "x", {.intensity = Intensity::percentiles});
  CHECK(flat.pixels[5] == 77 / 255.f);
  CHECK_ERROR(parse_intensity("bright"), "intensity 'bright' is none of depth, full, percentiles");
  for (const std::string& name : intensity_names()) CHECK(name_of(parse_intensity(name)) == name);
}

TEST_CASE("alpha is no part of a radiograph") {
  std::vector<uint8_t> gray, with_alpha, rgba;
  for (int i = 0; i < 64; ++i) {
    gray.push_back(static_cast<uint8_t>(3 * i));
    for (const int v : {3 * i, 128}) with_alpha.push_back(static_cast<uint8_t>(v));
    for (const int v : {3 * i, 3 * i, 3 * i, 4 * i}) rgba.push_back(static_cast<uint8_t>(v));
  }
  const auto wanted = decode_gray(png_file<uint8_t>(8, 8, 0, 1, gray), "x").pixels;
  ImageFacts facts;
  CHECK(decode_gray(png_file<uint8_t>(8, 8, 4, 2, with_alpha), "x", {}, &facts).pixels == wanted);
  CHECK_FALSE(facts.transparent);
  CHECK(decode_gray(png_file<uint8_t>(8, 8, 6, 4, rgba), "x").pixels == wanted);
  for (size_t i = 1; i < with_alpha.size(); i += 2) with_alpha[i] = 0;
  decode_gray(png_file<uint8_t>(8, 8, 4, 2, with_alpha), "x", {}, &facts);
  CHECK(facts.transparent);
  // A palette's alpha, and the colour that tRNS declares transparent.
  const std::vector<uint8_t> indices(64, 1);
  const std::vector<Bytes> hidden = {chunk("PLTE", {0, 0, 0, 90, 91, 92}), chunk("tRNS", {255, 0})};
  const Image palette =
      decode_image(png_file<uint8_t>(8, 8, 3, 1, indices, hidden), "x", {}, &facts);
  CHECK(facts.transparent);
  CHECK(palette.at(3, 3, 2) == 92 / 255.f);
  decode_gray(png_file<uint8_t>(8, 8, 0, 1, std::vector<uint8_t>(64, 7), {chunk("tRNS", {0, 7})}),
              "x", {}, &facts);
  CHECK(facts.transparent);
}

TEST_CASE("colour JPEG: gray is its luma") {
  ImageU8 image(32, 48, 3);
  for (int y = 0; y < 32; ++y)
    for (int x = 0; x < 48; ++x)
      for (int c = 0; c < 3; ++c) image.at(y, x, c) = static_cast<uint8_t>(60 + y + 2 * x + 10 * c);
  const Bytes jpeg = encode_jpeg(image, 95);
  const Image gray = decode_gray(jpeg, "x"), color = to_gray(decode_image(jpeg, "x"));
  for (size_t i = 0; i < gray.pixels.size(); ++i)
    CHECK(std::abs(gray.pixels[i] - color.pixels[i]) < 2.5f / 255);
}
