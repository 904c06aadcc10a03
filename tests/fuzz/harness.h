// A fuzz harness: a function that gives any bytes to one parser and checks what must hold whatever
// they are. The same harnesses run under libFuzzer (libfuzzer.cpp) and over the corpus without it
// (replay.cpp).
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tensor/error.h"

namespace thorax::fuzz {

using Bytes = std::span<const std::uint8_t>;
using Buffer = std::vector<std::uint8_t>;

// libFuzzer's own mutation of a piece of the input, which may grow to so many bytes.
using PlainMutation = std::function<void(Buffer&, std::size_t max_bytes)>;

struct Harness {
  void (*run)(Bytes) = nullptr;
  // Changes an input so that it stays well-formed where plain mutations would mostly break it
  // (checksums, lengths). Null: plain mutations only.
  Buffer (*mutate)(Bytes, std::size_t max_bytes, unsigned seed, const PlainMutation&) = nullptr;
};

// By name; the name is also that of the program that runs it and of its folder in corpus/.
std::map<std::string, Harness>& harnesses();

// A file-scope object that enters a harness.
struct Enter {
  Enter(const char* name, Harness harness) { harnesses()[name] = harness; }
};

// Says what does not hold and ends the process as a crash does.
[[noreturn]] void broken(const char* file, int line, const std::string& text);
#define FUZZ_REQUIRE(condition, ...)                                                          \
  do {                                                                                        \
    if (!(condition))                                                                         \
      ::thorax::fuzz::broken(__FILE__, __LINE__, #condition + fmt::format(": " __VA_ARGS__)); \
  } while (false)

// The error that every refusal must be: "[module] ...", naming the file.
void check_refusal(const Error& error, std::string_view name);

// Whether `f` takes the input. An Error is a refusal and must name `name`; any other exception is a
// fault and is left to end the process.
template <class F>
bool accepted(std::string_view name, F&& f) {
  try {
    f();
    return true;
  } catch (const Error& error) {
    check_refusal(error, name);
    return false;
  }
}

// A folder of this process, in memory where there is /dev/shm; removed at its end.
const std::filesystem::path& scratch();
void write_file(const std::filesystem::path& path, Bytes bytes);
std::string read_text(const std::filesystem::path& path);

inline std::string_view as_text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// The pieces between bytes of this value, at most so many (the last one takes the rest).
std::vector<std::string> pieces(Bytes bytes, char separator, std::size_t most);

}  // namespace thorax::fuzz
