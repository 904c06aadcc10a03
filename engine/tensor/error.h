// The one exception type of thorax. Every message starts with the operation or component in
// brackets and carries the shapes or the file that caused it: "[conv2d] input 1x512x512x3: filter
// wants 1 channel".
#pragma once

#include <fmt/core.h>

#include <stdexcept>
#include <string>

namespace thorax {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Not inline: every file checks something, and would compile the formatting again.
[[noreturn]] void fail_formatted(fmt::string_view format, fmt::format_args args);

// Throws Error with a fmt-formatted message.
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  fail_formatted(format, fmt::make_format_args(args...));
}

}  // namespace thorax

// Checks a rule about the caller's input; not an assert: it stays in release builds.
#define THORAX_CHECK(condition, ...)               \
  do {                                             \
    if (!(condition)) ::thorax::fail(__VA_ARGS__); \
  } while (false)
