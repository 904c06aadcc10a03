// XXH3-64 of a sequence of pieces. Finds damage, not forgery.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "engine/tensor/tensor.h"

namespace thorax {

class Checksum {
 public:
  Checksum();
  ~Checksum();
  Checksum(const Checksum&) = delete;
  Checksum& operator=(const Checksum&) = delete;

  void add(std::span<const std::byte> bytes);
  // Texts are preceded by their length, so that "ab", "c" and "a", "bc" differ.
  void add(std::string_view text);
  // Type, shape and values; a channel slice counts as its contiguous copy.
  void add(const Tensor& tensor);
  // 16 hexadecimal digits of everything added so far.
  std::string hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// 16 hexadecimal digits of a file's bytes. Throws Error "[io] ..." when it cannot be read.
std::string file_checksum(const std::filesystem::path& path);

}  // namespace thorax
