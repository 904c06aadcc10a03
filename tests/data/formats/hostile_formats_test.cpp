// Files of every format, cut and damaged: an error that names the file, or an image; never a crash.
#include <cstdlib>
#include <random>

#include "data/formats/format.h"
#include "tests/data/formats/golden_formats.h"

using namespace thorax;
using namespace thorax::test;
namespace fs = std::filesystem;

namespace {

std::vector<std::string> golden_names() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(golden_format(""))) {
    const std::string name = entry.path().filename().string();
    const ImageFormat* format = recognise_format(golden_format_bytes(name));
    if (format && format->available()) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

// The pixels, or nothing for a refusal, which must name the file.
std::vector<float> outcome(const Bytes& bytes) {
  try {
    const Image image = decode_gray(bytes, "the_file");
    CHECK(image.pixels.size() == static_cast<size_t>(image.height) * image.width);
    CHECK(std::all_of(image.pixels.begin(), image.pixels.end(),
                      [](float v) { return v >= 0 && v <= 1; }));
    return image.pixels;
  } catch (const Error& e) {
    CHECK_MESSAGE(contains(e.what(), "the_file"), e.what());
    return {};
  }
}

}  // namespace

TEST_CASE("hostile formats: a file cut at any byte is refused, or has all of its pixels") {
  const std::vector<std::string> names = golden_names();
  CHECK(names.size() >= 18);
  for (const std::string& name : names) {
    CAPTURE(name);
    const Bytes bytes = golden_format_bytes(name);
    const std::vector<float> whole = outcome(bytes);
    int refused = 0;
    for (size_t n = 0; n < bytes.size(); ++n) {
      const std::vector<float> cut =
          outcome(Bytes(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(n)));
      refused += cut.empty() ? 1 : 0;
      CHECK((cut.empty() || cut == whole));
    }
    CHECK(refused > 0);
  }
}

TEST_CASE("hostile formats: bit flips, runs of noise and deletions") {
  const char* longer = std::getenv("THORAX_FUZZ");
  const int rounds = 150 * (longer ? std::atoi(longer) : 1);
  std::mt19937 random(77u + static_cast<unsigned>(rounds));
  for (const std::string& name : golden_names()) {
    CAPTURE(name);
    const Bytes bytes = golden_format_bytes(name);
    for (int round = 0; round < rounds; ++round) {
      Bytes b = bytes;
      // Mostly within the header, where it is decided how the rest is read.
      const auto place = [&] {
        return random() % (random() % 3 ? std::min<size_t>(b.size(), 400) : b.size());
      };
      const int kind = static_cast<int>(random() % 3);
      if (kind == 0)
        b[place()] ^= static_cast<uint8_t>(1u << (random() % 8));
      else if (kind == 1)
        for (size_t at = place(), k = 0; k < 6 && at + k < b.size(); ++k)
          b[at + k] = static_cast<uint8_t>(random());
      else
        b.erase(b.begin() + static_cast<ptrdiff_t>(place()));
      outcome(b);
    }
  }
}
