#include "tests/fuzz/harness.h"

#include <unistd.h>

#include <fstream>
#include <iterator>

namespace thorax::fuzz {
namespace fs = std::filesystem;

std::map<std::string, Harness>& harnesses() {
  static std::map<std::string, Harness> all;
  return all;
}

void broken(const char* file, int line, const std::string& text) {
  std::fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, text.c_str());
  std::abort();
}

void check_refusal(const Error& error, std::string_view name) {
  const std::string_view text = error.what();
  const std::size_t bracket = text.find("] ");
  FUZZ_REQUIRE(text.starts_with('[') && bracket != text.npos && bracket > 1 && bracket < 20,
               "an error names its module: {}", text);
  FUZZ_REQUIRE(text.find(name) != text.npos, "an error names the input '{}': {}", name, text);
}

namespace {
// Only the process that made the folder removes it: libFuzzer forks.
struct Scratch {
  Scratch() : owner(::getpid()) {
    const fs::path memory = "/dev/shm";
    std::string name = ((::access(memory.c_str(), W_OK) == 0 ? memory : fs::temp_directory_path()) /
                        "thorax-fuzz-XXXXXX")
                           .string();
    if (::mkdtemp(name.data()) == nullptr) broken(__FILE__, __LINE__, "no folder " + name);
    path = name;
  }
  ~Scratch() {
    std::error_code ignored;
    if (::getpid() == owner) fs::remove_all(path, ignored);
  }
  pid_t owner;
  fs::path path;
};
}  // namespace

const fs::path& scratch() {
  static const Scratch folder;
  return folder.path;
}

void write_file(const fs::path& path, Bytes bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  file.close();
  FUZZ_REQUIRE(file, "cannot write {}", path.string());
}

std::string read_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> pieces(Bytes bytes, char separator, std::size_t most) {
  std::string_view rest = as_text(bytes);
  std::vector<std::string> out;
  for (;;) {
    const std::size_t end = out.size() + 1 < most ? rest.find(separator) : rest.npos;
    out.emplace_back(rest.substr(0, end));
    if (end == rest.npos) return out;
    rest.remove_prefix(end + 1);
  }
}

}  // namespace thorax::fuzz
