// Runs a harness over files, without libFuzzer: replay HARNESS FILE-OR-FOLDER...
// A crash ends the process; the file is named before it is run.
#include <algorithm>

#include "tests/fuzz/harness.h"

int main(int argc, char** argv) {
  using namespace thorax::fuzz;
  namespace fs = std::filesystem;
  const auto found = argc < 3 ? harnesses().end() : harnesses().find(argv[1]);
  if (found == harnesses().end()) {
    std::fprintf(stderr, "replay HARNESS FILE-OR-FOLDER...; harnesses:");
    for (const auto& [name, harness] : harnesses()) std::fprintf(stderr, " %s", name.c_str());
    std::fprintf(stderr, "\n");
    return 2;
  }
  std::vector<fs::path> files;
  for (int i = 2; i < argc; ++i) {
    if (!fs::is_directory(argv[i])) {
      files.emplace_back(argv[i]);
      continue;
    }
    for (const auto& entry : fs::directory_iterator(argv[i])) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  if (files.empty()) {
    std::fprintf(stderr, "%s: there is no file to replay\n", argv[2]);
    return 1;
  }
  for (const fs::path& file : files) {
    if (!fs::is_regular_file(file)) {
      std::fprintf(stderr, "%s: is not there\n", file.c_str());
      return 1;
    }
    std::fprintf(stderr, "%s\n", file.c_str());
    const std::string text = read_text(file);
    found->second.run({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  }
  std::printf("%s: %zu inputs, no crash\n", argv[1], files.size());
  return 0;
}
