// The one exception type of thorax. Every message starts with the operation or component in
// brackets and carries the shapes or the file that caused it: "[conv2d] input 1x512x512x3: filter
// wants 1 channel".
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace thorax {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Throws Error with a fmt-formatted message.
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace thorax

// Checks a rule about the caller's input; not an assert: it stays in release builds.
#define THORAX_CHECK(condition, ...)               \
  do {                                             \
    if (!(condition)) ::thorax::fail(__VA_ARGS__); \
  } while (false)
