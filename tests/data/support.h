// Shared by the data tests: temporary folders, the real data, a quick expectation of error texts.
#pragma once

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "engine/tensor/error.h"
#include "tests/support/places.h"

namespace thorax::test {

// A fresh folder, removed at the end of the test.
class TempFolder {
 public:
  TempFolder() {
    std::random_device random;
    path_ = std::filesystem::temp_directory_path() /
            ("thorax_test_" + std::to_string(random()) + std::to_string(random()));
    std::filesystem::create_directories(path_);
  }
  ~TempFolder() {
    std::error_code code;
    std::filesystem::remove_all(path_, code);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline void write_text(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

inline void write_bytes(const std::filesystem::path& path, const std::vector<uint8_t>& bytes) {
  write_text(path, std::string(bytes.begin(), bytes.end()));
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
