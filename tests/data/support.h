// Shared by the data tests: files, small images, the real data, a quick expectation of error texts.
#pragma once

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "data/encode.h"
#include "engine/tensor/error.h"
#include "tests/support/places.h"
#include "tests/support/temp_folder.h"

namespace thorax::test {

inline void write_text(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

inline void write_bytes(const std::filesystem::path& path, const std::vector<uint8_t>& bytes) {
  write_text(path, std::string(bytes.begin(), bytes.end()));
}

// A small gray PNG (or JPEG, by its name) of one shade below a white row.
inline void make_image(const std::filesystem::path& path, int shade = 100, int height = 8,
                       int width = 10) {
  std::filesystem::create_directories(path.parent_path());
  ImageU8 image(height, width, 1, static_cast<uint8_t>(shade));
  for (int x = 0; x < width; ++x) image.at(0, x) = 255;  // a constant image shows nothing
  save_image(path, image);
}

// The text of the Error that `f` throws; "" if it throws none.
template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Folder of the real images, or empty (said loudly). A CI run where it exists runs the tests.
inline std::filesystem::path real_data() {
  namespace fs = std::filesystem;
  if (const char* set = std::getenv("THORAX_DATA")) {
    REQUIRE_MESSAGE(fs::is_directory(set), "THORAX_DATA=" << set << " is no folder");
    return set;
  }
  const fs::path beside = thorax::test::source_folder() / ".." / "shared" / "data";
  if (fs::is_directory(beside)) return fs::weakly_canonical(beside);
  std::cerr << "SKIPPED: no real data ($THORAX_DATA or ../shared/data): this test ran on nothing\n";
  return {};
}

#define CHECK_ERROR(expression, part)                                                \
  do {                                                                               \
    const std::string text_ = ::thorax::test::error_of([&] { (void)(expression); }); \
    CHECK_MESSAGE(::thorax::test::contains(text_, part),                             \
                  "wanted '" << (part) << "', got: " << text_);                      \
  } while (false)

}  // namespace thorax::test
