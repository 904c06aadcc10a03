#include "engine/io/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <numeric>

#include "engine/io/atomic_file.h"
#include "engine/io/checksum.h"
#include "engine/io/file_kind.h"
#include "engine/runtime/parallel.h"

namespace thorax {
namespace {

static_assert(std::endian::native == std::endian::little, "files are little-endian");

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kMaxHeader = 100'000'000;  // the official library's limit

// The order in which the official library lays tensors out: its dtype enumeration, descending.
constexpr std::array<std::pair<DType, const char*>, 7> kWritten = {{{DType::i64, "I64"},
                                                                    {DType::f64, "F64"},
                                                                    {DType::f32, "F32"},
                                                                    {DType::i32, "I32"},
                                                                    {DType::bf16, "BF16"},
                                                                    {DType::f16, "F16"},
                                                                    {DType::u8, "U8"}}};

std::size_t written_rank(DType dtype) {
  for (std::size_t i = 0; i < kWritten.size(); ++i)
    if (kWritten[i].first == dtype) return i;
  fail("[safetensors] no name for dtype {}", name_of(dtype));
}

// to[n][c][r] = from[n][r][c] for elements of `Size` bytes.
template <std::size_t Size>
void transpose(const std::byte* from, std::byte* to, std::int64_t outer, std::int64_t rows,
               std::int64_t columns) {
  parallel_for(0, outer, 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t n = first; n < last; ++n)
      for (std::int64_t r = 0; r < rows; ++r)
        for (std::int64_t c = 0; c < columns; ++c)
          std::memcpy(to + static_cast<std::size_t>((n * columns + c) * rows + r) * Size,
                      from + static_cast<std::size_t>((n * rows + r) * columns + c) * Size, Size);
  });
}

void transpose(const void* from, void* to, std::size_t size, std::int64_t outer, std::int64_t rows,
               std::int64_t columns) {
  const auto* source = static_cast<const std::byte*>(from);
  auto* target = static_cast<std::byte*>(to);
  switch (size) {
    case 1:
      return transpose<1>(source, target, outer, rows, columns);
    case 2:
      return transpose<2>(source, target, outer, rows, columns);
    case 4:
      return transpose<4>(source, target, outer, rows, columns);
    default:
      return transpose<8>(source, target, outer, rows, columns);
  }
}

// Whether converting the order moves anything.
bool reorders(const Shape& shape, FileOrder order) {
  return order == FileOrder::pytorch && shape.rank() == 4;
}

// NCHW -> NHWC.
Tensor channels_last(const Tensor& t) {
  const Shape& s = t.shape();
  const Tensor result = Tensor::empty({s[0], s[2], s[3], s[1]}, t.dtype());
  transpose(t.raw(), result.raw(), size_of(t.dtype()), s[0], s[1], s[2] * s[3]);
  return result;
}

constexpr const char* kChecksum = "checksum";

// Over tensors as they lie in memory after a reader asked for PyTorch's order.
std::string content_checksum(const std::map<std::string, Tensor>& tensors,
                             const std::map<std::string, std::string>& metadata, FileOrder order) {
  Checksum sum;
  for (const auto& [name, tensor] : tensors) {
    sum.add(name);
    sum.add(order == FileOrder::as_is && tensor.rank() == 4 ? channels_last(tensor) : tensor);
  }
  for (const auto& [key, text] : metadata) {
    if (key == kChecksum) continue;
    sum.add(key);
    sum.add(text);
  }
  return sum.hex();
}

struct Layout {
  SafetensorsHeader header;
  std::uint64_t data = 0;  // where the buffer starts
};

// read(offset, bytes) fills bytes from the file.
template <class Read>
Layout read_layout(std::uint64_t size, std::string_view what, const Read& read) {
  THORAX_CHECK(size >= kLengthBytes,
               "[safetensors] {}: {} bytes are too few for the 8-byte header length", what, size);
  std::uint64_t length = 0;
  read(0, std::as_writable_bytes(std::span(&length, 1)));
  // Another kind of file reads as a length, too.
  std::vector<std::byte> head(static_cast<std::size_t>(std::min<std::uint64_t>(size, 512)));
  read(0, head);
  if (length > kMaxHeader || length > size - kLengthBytes || head.size() == kLengthBytes ||
      head[kLengthBytes] != std::byte{'{'}) {
    const std::string kind = foreign_kind(head);
    THORAX_CHECK(kind.empty(), "[safetensors] {}: is no safetensors file: it {}", what, kind);
  }
  THORAX_CHECK(length <= kMaxHeader, "[safetensors] {}: header of {} bytes, the limit is {}", what,
               length, kMaxHeader);
  THORAX_CHECK(length <= size - kLengthBytes,
               "[safetensors] {}: header of {} bytes leaves the file of {} bytes", what, length,
               size);
  std::string text(static_cast<std::size_t>(length), '\0');
  read(kLengthBytes, std::as_writable_bytes(std::span(text)));
  Layout layout;
  layout.data = kLengthBytes + length;
  layout.header = parse_safetensors_header(text, size - layout.data, what);
  return layout;
}

template <class Read>
SafetensorsFile read_all(std::uint64_t size, std::string_view what, FileOrder order,
                         const Read& read) {
  Layout layout = read_layout(size, what, read);
  SafetensorsFile file;
  file.metadata = std::move(layout.header.metadata);
  for (const SafetensorsEntry& entry : layout.header.entries) {
    THORAX_CHECK(entry.dtype.has_value(),
                 "[safetensors] {}: tensor '{}': {} is no type that this program computes with "
                 "(F32 F64 F16 BF16 I32 I64 U8 BOOL): convert it to F32",
                 what, entry.name, entry.type);
    THORAX_CHECK(
        entry.shape.size() <= Shape::kMaxRank,
        "[safetensors] {}: tensor '{}': shape [{}] has rank {}, this program computes with "
        "ranks up to {}",
        what, entry.name, fmt::join(entry.shape, ", "), entry.shape.size(), Shape::kMaxRank);
  }
  for (const SafetensorsEntry& entry : layout.header.entries) {
    const Shape in_file{std::span<const std::int64_t>(entry.shape)};
    const Tensor stored = Tensor::empty(in_file, *entry.dtype);
    read(layout.data + entry.begin,
         std::span(static_cast<std::byte*>(stored.raw()), stored.bytes()));
    if (!reorders(in_file, order)) {
      file.tensors[entry.name] = stored;
      continue;
    }
    file.tensors[entry.name] = channels_last(stored);
  }
  // Here, where every reader comes by: whoever loads weights cannot forget to ask.
  if (has_checksum(file.metadata)) {
    const std::string& wanted = file.metadata.at(kChecksum);
    const std::string found = content_checksum(file.tensors, file.metadata, order);
    THORAX_CHECK(wanted == found,
                 "[safetensors] {}: checksum {} does not match the content ({}): the file is "
                 "damaged; copy it again from where it came, or use another checkpoint of the run",
                 what, wanted, found);
  }
  return file;
}

}  // namespace

SafetensorsHeader read_safetensors_header(const std::filesystem::path& path) {
  const InputFile file(path);
  return read_layout(
             file.size(), path.string(),
             [&](std::uint64_t offset, std::span<std::byte> out) { file.read(offset, out); })
      .header;
}

SafetensorsFile read_safetensors(const std::filesystem::path& path, FileOrder order) {
  const InputFile file(path);
  return read_all(file.size(), path.string(), order,
                  [&](std::uint64_t offset, std::span<std::byte> out) { file.read(offset, out); });
}

SafetensorsFile parse_safetensors(std::span<const std::byte> bytes, std::string_view what,
                                  FileOrder order) {
  return read_all(bytes.size(), what, order, [&](std::uint64_t offset, std::span<std::byte> out) {
    if (!out.empty()) std::memcpy(out.data(), bytes.data() + offset, out.size());
  });
}

void write_safetensors(const std::filesystem::path& path,
                       const std::map<std::string, Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata, FileOrder order) {
  struct Item {
    const std::string* name;
    const Tensor* tensor;
    std::size_t rank;
  };
  std::vector<Item> items;
  for (const auto& [name, tensor] : tensors) {
    THORAX_CHECK(name != "__metadata__", "[safetensors] {}: '{}' cannot name a tensor",
                 path.string(), name);
    THORAX_CHECK(tensor.defined(), "[safetensors] {}: tensor '{}' is undefined", path.string(),
                 name);
    items.push_back({&name, &tensor, written_rank(tensor.dtype())});
  }
  std::stable_sort(items.begin(), items.end(),
                   [](const Item& a, const Item& b) { return a.rank < b.rank; });

  std::string header = "{";
  try {
    const auto quoted = [](const std::string& text) { return nlohmann::json(text).dump(); };
    if (!metadata.empty()) {
      header += "\"__metadata__\":{";
      for (auto it = metadata.begin(); it != metadata.end(); ++it) {
        if (it != metadata.begin()) header += ',';
        header += quoted(it->first) + ':' + quoted(it->second);
      }
      header += '}';
    }
    std::uint64_t position = 0;
    for (const Item& item : items) {
      const Shape& shape = item.tensor->shape();
      std::vector<std::int64_t> extents(shape.extents().begin(), shape.extents().end());
      if (reorders(shape, order)) extents = {shape[0], shape[3], shape[1], shape[2]};
      const std::uint64_t end = position + item.tensor->bytes();
      if (header.size() > 1) header += ',';
      header += fmt::format(R"({}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                            quoted(*item.name), kWritten[item.rank].second, fmt::join(extents, ","),
                            position, end);
      position = end;
    }
  } catch (const nlohmann::json::exception& error) {
    fail("[safetensors] {}: a name or a metadata text is not valid UTF-8: {}", path.string(),
         error.what());
  }
  header += '}';
  header.resize((header.size() + 7) / 8 * 8, ' ');
  THORAX_CHECK(header.size() <= kMaxHeader, "[safetensors] {}: header of {} bytes, the limit is {}",
               path.string(), header.size(), kMaxHeader);

  remove_leftovers_of(path);
  AtomicFile file(path);
  const std::uint64_t length = header.size();
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(header);
  for (const Item& item : items) {
    Tensor tensor = item.tensor->to(Device{}).to_contiguous();
    if (reorders(tensor.shape(), order)) {
      const Shape& s = tensor.shape();
      const Tensor swapped = Tensor::empty({s[0], s[3], s[1], s[2]}, tensor.dtype());
      transpose(tensor.raw(), swapped.raw(), size_of(tensor.dtype()), s[0], s[1] * s[2], s[3]);
      tensor = swapped;
    }
    file.write(std::span(static_cast<const std::byte*>(tensor.raw()), tensor.bytes()));
  }
  file.commit();
}

bool has_checksum(const std::map<std::string, std::string>& metadata) {
  const auto found = metadata.find(kChecksum);
  if (found == metadata.end()) return false;
  const std::string& text = found->second;
  const bool our_form =
      text.size() == 16 && text.find_first_not_of("0123456789abcdef") == text.npos;
  return our_form || std::any_of(metadata.begin(), metadata.end(), [](const auto& entry) {
           return entry.first.starts_with("thorax.");
         });
}

StateDict load_weights(const std::filesystem::path& path) {
  return read_safetensors(path, FileOrder::pytorch).tensors;
}

void save_weights(const std::filesystem::path& path, const StateDict& weights,
                  const std::map<std::string, std::string>& metadata) {
  // To the host once, for the checksum and for the file.
  StateDict here;
  for (const auto& [name, tensor] : weights) {
    THORAX_CHECK(tensor.defined(), "[safetensors] {}: tensor '{}' is undefined", path.string(),
                 name);
    here[name] = tensor.to(Device{});
  }
  std::map<std::string, std::string> all = metadata;
  all[kChecksum] = content_checksum(here, metadata, FileOrder::pytorch);
  write_safetensors(path, here, all, FileOrder::pytorch);
}

}  // namespace thorax
