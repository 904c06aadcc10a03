// A file that appears whole or not at all: temporary file beside it, fsync, rename.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

namespace thorax {

void write_atomically(const std::filesystem::path& path, std::span<const uint8_t> bytes);
void write_atomically(const std::filesystem::path& path, std::string_view text);

}  // namespace thorax
