// tests/data/golden/formats: 13 rows of 17 pixels, of which the one at (y, x) has the number 17 y +
// x, times what its file's name says (make_formats.py).
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/decode.h"
#include "data/decode_mask.h"
#include "tests/data/image_files.h"
#include "tests/data/support.h"

namespace thorax::test {

inline constexpr int kGoldenRows = 13, kGoldenColumns = 17;

inline std::filesystem::path golden_format(const std::string& name) {
  return source_folder() / "tests/data/golden/formats" / name;
}

inline Bytes golden_format_bytes(const std::string& name) {
  std::ifstream file(golden_format(name), std::ios::binary);
  return Bytes(std::istreambuf_iterator<char>(file), {});
}

// Whether the image has 13 x 17 pixels, each f(number) in each channel.
template <class F>
void check_golden(const Image& image, const F& f, float tolerance = 0) {
  REQUIRE(image.height == kGoldenRows);
  REQUIRE(image.width == kGoldenColumns);
  float worst = 0;
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x)
      for (int c = 0; c < image.channels; ++c)
        worst = std::max(worst, std::abs(image.at(y, x, c) - f(17 * y + x, c)));
  CHECK(worst <= tolerance);
}

inline bool has_note(const ImageFacts& facts, const std::string& part) {
  for (const std::string& note : facts.info.notes)
    if (contains(note, part)) return true;
  return false;
}

}  // namespace thorax::test
