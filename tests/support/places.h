// Where the tree and the command lie, found from where the test program lies, so that a build
// folder may be moved or copied to another machine together with its tree.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <stdexcept>

namespace thorax::test {

inline std::filesystem::path test_program_folder() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path();
}

// The root of the source tree: $THORAX_SOURCE, else the nearest folder above the test program that
// holds tests/golden.
inline const std::filesystem::path& source_folder() {
  static const std::filesystem::path found = [] {
    if (const char* set = std::getenv("THORAX_SOURCE"); set != nullptr && *set != '\0')
      return std::filesystem::path(set);
    for (std::filesystem::path at = test_program_folder();; at = at.parent_path()) {
      if (std::filesystem::is_directory(at / "tests/golden")) return at;
      if (at == at.parent_path())
        throw std::runtime_error("no folder above " + test_program_folder().string() +
                                 " holds tests/golden: set THORAX_SOURCE to the source tree");
    }
  }();
  return found;
}

// The thorax command of the same build: $THORAX_COMMAND, else apps/thorax beside the tests' folder.
inline const std::filesystem::path& thorax_program() {
  static const std::filesystem::path found = [] {
    if (const char* set = std::getenv("THORAX_COMMAND"); set != nullptr && *set != '\0')
      return std::filesystem::path(set);
    return test_program_folder().parent_path() / "apps/thorax";
  }();
  return found;
}

}  // namespace thorax::test
