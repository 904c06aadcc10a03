// Bytes that can be read at any position, of a file or in memory: for readers of formats that are
// also given bytes by tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>

#include "engine/io/atomic_file.h"

namespace thorax {

struct ByteSource {
  std::uint64_t size = 0;
  // read(offset, out) fills `out`; the range lies within `size`.
  std::function<void(std::uint64_t, std::span<std::byte>)> read;

  static ByteSource of(const std::filesystem::path& path) {
    const auto file = std::make_shared<InputFile>(path);
    return {file->size(),
            [file](std::uint64_t offset, std::span<std::byte> out) { file->read(offset, out); }};
  }
  // The bytes must outlive the source.
  static ByteSource of(std::span<const std::byte> bytes) {
    return {bytes.size(), [bytes](std::uint64_t offset, std::span<std::byte> out) {
              if (!out.empty()) std::memcpy(out.data(), bytes.data() + offset, out.size());
            }};
  }
};

}  // namespace thorax
