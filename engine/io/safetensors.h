// The safetensors format: https://github.com/huggingface/safetensors (README, "Format").
//
// File = u64 little-endian header length N, N bytes of JSON, then the data buffer. The header maps
// each tensor's name to {"dtype", "shape", "data_offsets": [begin, end]} (offsets from the start of
// the buffer), and "__metadata__" to strings by name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/nn/module.h"
#include "engine/tensor/tensor.h"

namespace thorax {

// How rank-4 tensors lie in the file. `as_is`: as in memory. `pytorch`: NCHW / OIHW in the file,
// NHWC / KRSC in memory; the other ranks are the same in both.
enum class FileOrder { as_is, pytorch };

struct SafetensorsFile {
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> metadata;
};

struct SafetensorsEntry {
  std::string name;
  std::string type;                  // as the file says: "F32", "I8", "F8_E4M3"
  std::optional<DType> dtype;        // what it is read as (BOOL as u8); empty: it cannot be read
  std::vector<std::int64_t> shape;   // in the file's order
  std::uint64_t begin = 0, end = 0;  // bytes from the start of the data buffer
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  // by position in the buffer
  std::map<std::string, std::string> metadata;
};

// Checks a header (the JSON text) against the whole format, given the size of the data buffer:
// valid UTF-8 JSON object with no key twice, dtypes of the format, whole non-negative shapes of
// rank
// <= 64 whose sizes do not overflow, byte counts equal to the ranges, ranges that cover the buffer
// exactly with neither hole nor overlap, metadata of strings only. Throws Error "[safetensors]
// WHAT:
// ...", `what` being the file's name. Tensors of a type or rank that this program does not compute
// with are legal here and refused when they are read.
SafetensorsHeader parse_safetensors_header(std::string_view json, std::uint64_t buffer_bytes,
                                           std::string_view what);

// The header of a file; its tensors are not read, so that no checksum is compared.
SafetensorsHeader read_safetensors_header(const std::filesystem::path& path);

// Whole files. Throw Error "[safetensors] PATH: ..." when a rule of the format is broken, or when a
// file of this program (below) does not have the content that its checksum was made of.
SafetensorsFile read_safetensors(const std::filesystem::path& path,
                                 FileOrder order = FileOrder::as_is);
SafetensorsFile parse_safetensors(std::span<const std::byte> bytes, std::string_view what,
                                  FileOrder order = FileOrder::as_is);

// Replaces `path` atomically. Tensors lie sorted by element size and name, so that every one is
// aligned, as the official library writes them; equal content gives equal bytes, whatever device it
// is on.
void write_safetensors(const std::filesystem::path& path,
                       const std::map<std::string, Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata = {},
                       FileOrder order = FileOrder::as_is);

// Whether a file with this metadata carries a checksum of this program, which every reader of the
// whole file compares. Files of others have none, or one that is not ours to judge.
bool has_checksum(const std::map<std::string, std::string>& metadata);

// Weights of a module, in PyTorch's order in the file. save_weights adds to the metadata, as
// "checksum", the XXH3-64 of every tensor (name, type, shape, values) and of all other metadata.
StateDict load_weights(const std::filesystem::path& path);
void save_weights(const std::filesystem::path& path, const StateDict& weights,
                  const std::map<std::string, std::string>& metadata = {});

}  // namespace thorax
