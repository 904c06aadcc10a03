// What a file is that somebody took for another.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace thorax {

// Told by the first bytes (a few hundred suffice): a kind of file that people give in place of a
// safetensors file or an image, and what to do about it, as "is an HTML page: ...". Empty when the
// bytes say nothing.
std::string foreign_kind(std::span<const std::byte> head);

// A Git LFS pointer: three lines of text that stand where a large file was not fetched.
bool is_lfs_pointer(std::span<const std::byte> head);

}  // namespace thorax
