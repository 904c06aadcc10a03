#include "models/weight_file.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/io/pytorch_file.h"

namespace thorax {
namespace {

// "a, b, c and 17 more"
std::string listed(const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 8;
  std::vector<std::string> shown(
      names.begin(), names.begin() + static_cast<std::ptrdiff_t>(std::min(kShown, names.size())));
  return fmt::format(
      "{}{}", fmt::join(shown, ", "),
      names.size() > kShown ? fmt::format(" and {} more", names.size() - kShown) : std::string());
}

std::vector<std::string> notes_of(const PytorchFile& file) {
  std::vector<std::string> notes;
  if (!file.entry.empty())
    notes.push_back(fmt::format("a PyTorch checkpoint: its entry '{}' is taken", file.entry) +
                    (file.others.empty() ? "" : "; not read: " + listed(file.others)));
  if (!file.module_class.empty())
    notes.push_back(fmt::format(
        "a whole network of the class {}: its parameters and buffers are taken, no code",
        file.module_class));
  if (!file.ignored.empty())
    notes.push_back(fmt::format("{} entries are no tensors and ignored: {}", file.ignored.size(),
                                listed(file.ignored)));
  return notes;
}

const char* safetensors_name(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "F32";
    case DType::f64:
      return "F64";
    case DType::f16:
      return "F16";
    case DType::bf16:
      return "BF16";
    case DType::i32:
      return "I32";
    case DType::i64:
      return "I64";
    case DType::u8:
      return "U8";
  }
  return "?";
}

}  // namespace

bool WeightFile::ours() const {
  return std::any_of(metadata.begin(), metadata.end(),
                     [](const auto& entry) { return entry.first.starts_with("thorax."); });
}

StateDict model_tensors(StateDict tensors, const std::map<std::string, std::string>& metadata) {
  constexpr std::string_view kPrefix = "model.";
  const auto is_model = [&](const auto& entry) { return entry.first.starts_with(kPrefix); };
  const bool ours = std::any_of(metadata.begin(), metadata.end(), [](const auto& entry) {
    return entry.first.starts_with("thorax.");
  });
  if (!ours || std::none_of(tensors.begin(), tensors.end(), is_model)) return tensors;
  StateDict result;
  for (const auto& [name, tensor] : tensors)
    if (name.starts_with(kPrefix)) result[name.substr(kPrefix.size())] = tensor;
  return result;
}

WeightFile read_weight_file(const std::filesystem::path& path) {
  WeightFile result;
  result.pytorch = is_pytorch_file(path);
  if (result.pytorch) {
    PytorchFile file = read_pytorch(path, FileOrder::pytorch);
    result.notes = notes_of(file);
    result.module_class = file.module_class;
    result.tensors = std::move(file.tensors);
    return result;
  }
  SafetensorsFile file = read_safetensors(path, FileOrder::pytorch);
  result.tensors = model_tensors(std::move(file.tensors), file.metadata);
  result.metadata = std::move(file.metadata);
  return result;
}

SafetensorsHeader read_weight_list(const std::filesystem::path& path,
                                   std::vector<std::string>& notes) {
  if (!is_pytorch_file(path)) return read_safetensors_header(path);
  const PytorchFile file = read_pytorch(path);
  notes = notes_of(file);
  SafetensorsHeader header;
  std::uint64_t at = 0;
  for (const auto& [name, tensor] : file.tensors) {
    const auto extents = tensor.shape().extents();
    header.entries.push_back({name,
                              safetensors_name(tensor.dtype()),
                              tensor.dtype(),
                              {extents.begin(), extents.end()},
                              at,
                              at + tensor.bytes()});
    at += tensor.bytes();
  }
  return header;
}

}  // namespace thorax
