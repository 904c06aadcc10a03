// libjpeg-turbo beside stb_image: the same decisions, and how far pixels are apart. What libpng
// writes.
#include <cmath>
#include <random>

#include "data/encode.h"
#include "data/formats/format.h"
#include "data/formats/stb.h"
#include "data/formats/turbo.h"
#include "tests/data/image_files.h"
#include "tests/data/support.h"

using namespace thorax;
using namespace thorax::test;
namespace fs = std::filesystem;

namespace {

using Decode = Samples (*)(std::span<const uint8_t>, const std::string&, const DecodeLimits&, Use);

struct Outcome {
  std::string error;
  Samples samples;
};

Outcome outcome(Decode decode, const Bytes& bytes, Use use) {
  Outcome out;
  out.error = error_of([&] { out.samples = decode(bytes, "x", {}, use); });
  return out;
}

// The sample without PNG's multiples of small depths.
int sample(const Samples& s, size_t i) {
  return s.info.bits == 16 ? s.u16()[i] : s.u8()[i] / s.step;
}

// Same refusal or same facts; the largest difference of a sample.
int compare(Decode by_stb, Decode by_other, const Bytes& bytes, Use use) {
  const Outcome a = outcome(by_stb, bytes, use), b = outcome(by_other, bytes, use);
  CHECK(a.error == b.error);
  if (!a.error.empty() || !b.error.empty()) return 0;
  REQUIRE(a.samples.channels == b.samples.channels);
  REQUIRE(a.samples.info.bits == b.samples.info.bits);
  CHECK(a.samples.info.orientation == b.samples.info.orientation);
  CHECK(a.samples.info.notes == b.samples.info.notes);
  int worst = 0;
  for (size_t i = 0; i < a.samples.count() * static_cast<size_t>(a.samples.channels); ++i)
    worst = std::max(worst, std::abs(sample(a.samples, i) - sample(b.samples, i)));
  return worst;
}

Bytes golden(const std::string& name) {
  std::ifstream file(source_folder() / "tests/data/golden" / name, std::ios::binary);
  return Bytes(std::istreambuf_iterator<char>(file), {});
}

ImageU8 picture(int channels, int height = 61, int width = 83) {
  ImageU8 image(height, width, channels);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int c = 0; c < channels; ++c)
        image.at(y, x, c) = static_cast<uint8_t>(128 + 60 * std::sin(0.11 * x + c) +
                                                 50 * std::cos(0.07 * y * (c + 1)) + (x * y % 11));
  return image;
}

std::vector<Bytes> damaged(const Bytes& good, std::mt19937& random, int rounds) {
  std::vector<Bytes> out;
  for (int round = 0; round < rounds; ++round) {
    Bytes b = good;
    if (round % 3 == 0) b.resize(random() % b.size());
    for (unsigned k = random() % 3; k > 0 && !b.empty(); --k)
      b[random() % b.size()] ^= static_cast<uint8_t>(1u << (random() % 8));
    out.push_back(std::move(b));
  }
  return out;
}

}  // namespace

TEST_CASE("codecs: PNG files written are read back by stb_image, 8 and 16 bits, gray and colour") {
  for (const int channels : {1, 3}) {
    const ImageU8 image = picture(channels);
    const Samples s = decode_png_by_stb(encode_png(image), "x", {}, Use::image);
    CHECK(std::equal(image.pixels.begin(), image.pixels.end(), s.u8()));
    ImageU16 deep(31, 17, channels);
    for (size_t i = 0; i < deep.pixels.size(); ++i) deep.pixels[i] = static_cast<uint16_t>(i * 977);
    const Samples t = decode_png_by_stb(encode_png(deep), "x", {}, Use::image);
    CHECK(t.info.sample_bits == 16);
    CHECK(std::equal(deep.pixels.begin(), deep.pixels.end(), t.u16()));
  }
}

TEST_CASE(
    "codecs: libjpeg-turbo's gray is within 1 of stb_image's, and both refuse the same files") {
  if (turbo_reader().empty()) {
    std::cerr << "SKIPPED: a build without libjpeg-turbo\n";
    return;
  }
  std::vector<Bytes> files;
  for (const char* name :
       {"progressive.jpg", "color_progressive.jpg", "cmyk.jpg", "restart.jpg", "ycck.jpg"})
    files.push_back(golden(name));
  for (const int quality : {30, 75, 95})
    for (const int channels : {1, 3}) files.push_back(encode_jpeg(picture(channels), quality));
  files.push_back(with_exif(files.back(), 6));
  std::mt19937 random(4);
  for (const Bytes& file : files) {
    CHECK(compare(decode_jpeg_by_stb, decode_jpeg_by_turbo, file, Use::gray) <= 1);
    CHECK(compare(decode_jpeg_by_stb, decode_jpeg_by_turbo, file, Use::image) <= 4);
    // Damage in quantization tables and the like makes other pictures of larger values.
    for (const Bytes& bad : damaged(file, random, 60))
      compare(decode_jpeg_by_stb, decode_jpeg_by_turbo, bad, Use::gray);
  }
  CHECK(outcome(decode_jpeg_by_turbo, files.front(), Use::gray).error.empty());
}
