// Files below a folder, and none outside of it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace thorax::app {

// Content of the regular file ROOT/RELATIVE, of at most `max_bytes`. Nothing for anything else: a
// path that is absolute, has an empty part, ".", ".." or a NUL, leads through a symbolic link
// (`root` may be one), or is too large; all of which look the same from outside. Each part is
// opened in the folder opened before it, so that nothing changes between a check and the reading.
std::optional<std::string> read_below(const std::filesystem::path& root, std::string_view relative,
                                      std::uint64_t max_bytes);

}  // namespace thorax::app
