#include "engine/train/checkpoint.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>

#include "engine/io/atomic_file.h"
#include "engine/io/safetensors.h"

namespace thorax {
namespace {

constexpr const char* kFormat = "thorax.checkpoint";
constexpr const char* kVersion = "2";
// Its state counts the lines of the log instead of holding them.
constexpr const char* kEarlierVersion = "1";
constexpr const char* kChecksum = "checksum";
constexpr std::string_view kModel = "model.", kOptimizer = "optimizer.", kTrained = "trained.";

std::filesystem::path with_word(const std::filesystem::path& path, const char* word) {
  std::filesystem::path result = path;
  result.replace_extension(std::string(".") + word + path.extension().string());
  return result;
}

}  // namespace

std::filesystem::path previous_checkpoint(const std::filesystem::path& path) {
  return with_word(path, "prev");
}

void clear_checkpoint_leftovers(const std::filesystem::path& path) {
  std::error_code ignored;
  for (const char* word : {"new", "link"}) std::filesystem::remove(with_word(path, word), ignored);
}

namespace {

void replace_checkpoint(const std::filesystem::path& path, const StateDict& tensors,
                        const std::map<std::string, std::string>& metadata) {
  // First the new file, whole and durable; then two renames, between which `path` stays what it
  // was.
  const std::filesystem::path fresh = with_word(path, "new");
  save_weights(fresh, tensors, metadata);
  if (std::filesystem::exists(path)) {
    const std::filesystem::path previous = previous_checkpoint(path);
    const std::filesystem::path link = with_word(path, "link");
    std::error_code error;
    std::filesystem::remove(link, error);
    std::filesystem::create_hard_link(path, link, error);
    // A file system without hard links: the previous file alone is there for a moment, which
    // load_latest_checkpoint copes with.
    if (error) {
      std::filesystem::rename(path, previous, error);
    } else {
      std::filesystem::rename(link, previous, error);
      // Where both are the same file already, renaming did nothing.
      std::error_code ignored;
      if (!error) std::filesystem::remove(link, ignored);
    }
    if (error)
      fail("[checkpoint] {}: the previous version could not be kept: {}", path.string(),
           error.message());
  }
  std::error_code error;
  std::filesystem::rename(fresh, path, error);
  if (error) fail("[checkpoint] {}: rename failed: {}", path.string(), error.message());
  sync_folder(path.has_parent_path() ? path.parent_path() : std::filesystem::path("."));
}

}  // namespace

void save_checkpoint(const std::filesystem::path& path, const Checkpoint& checkpoint) {
  StateDict tensors;
  for (const auto& [name, tensor] : checkpoint.model) tensors[std::string(kModel) + name] = tensor;
  for (const auto& [name, tensor] : checkpoint.optimizer)
    tensors[std::string(kOptimizer) + name] = tensor;
  for (const auto& [name, tensor] : checkpoint.trained)
    tensors[std::string(kTrained) + name] = tensor;
  std::map<std::string, std::string> metadata = checkpoint.texts;
  metadata[kFormat] = kVersion;
  try {
    replace_checkpoint(path, tensors, metadata);
  } catch (...) {
    clear_checkpoint_leftovers(path);
    throw;
  }
}

Checkpoint load_checkpoint(const std::filesystem::path& path) {
  SafetensorsFile file = read_safetensors(path, FileOrder::pytorch);
  const auto format = file.metadata.find(kFormat);
  THORAX_CHECK(format != file.metadata.end() && has_checksum(file.metadata),
               "[checkpoint] {}: is not a checkpoint", path.string());
  THORAX_CHECK(format->second == kVersion || format->second == kEarlierVersion,
               "[checkpoint] {}: version {}, this program reads {} and {}", path.string(),
               format->second, kEarlierVersion, kVersion);
  Checkpoint checkpoint;
  for (auto& [name, tensor] : file.tensors) {
    if (name.starts_with(kModel))
      checkpoint.model[name.substr(kModel.size())] = tensor;
    else if (name.starts_with(kOptimizer))
      checkpoint.optimizer[name.substr(kOptimizer.size())] = tensor;
    else if (name.starts_with(kTrained))
      checkpoint.trained[name.substr(kTrained.size())] = tensor;
    else
      fail("[checkpoint] {}: unknown tensor '{}'", path.string(), name);
  }
  checkpoint.texts = std::move(file.metadata);
  checkpoint.texts.erase(kFormat);
  checkpoint.texts.erase(kChecksum);
  return checkpoint;
}

std::optional<Checkpoint> load_latest_checkpoint(
    const std::filesystem::path& path, const std::function<void(const std::string&)>& message) {
  const std::filesystem::path previous = previous_checkpoint(path);
  std::string problem;
  if (std::filesystem::exists(path)) {
    try {
      return load_checkpoint(path);
    } catch (const Error& error) {
      problem = error.what();
    }
  }
  if (!std::filesystem::exists(previous)) {
    if (problem.empty()) return std::nullopt;
    fail("{}; there is no previous checkpoint", problem);
  }
  std::optional<Checkpoint> checkpoint;
  try {
    checkpoint = load_checkpoint(previous);
  } catch (const Error& error) {
    if (problem.empty()) throw;
    fail("{}; nor is the previous one good: {}", problem, error.what());
  }
  if (!problem.empty()) {
    // Out of the way, or the next checkpoint would keep the bad file in place of the good one.
    std::error_code ignored;
    std::filesystem::rename(path, with_word(path, "bad"), ignored);
    message(fmt::format("{}; going on from {}", problem, previous.string()));
  } else {
    message(fmt::format("[checkpoint] {}: is missing; going on from {}", path.string(),
                        previous.string()));
  }
  return checkpoint;
}

void save_model_weights(const std::filesystem::path& path, const StateDict& weights,
                        const std::map<std::string, std::string>& metadata) {
  save_weights(path, weights, metadata);
}

ModelWeights load_model_weights(const std::filesystem::path& path) {
  SafetensorsFile file = read_safetensors(path, FileOrder::pytorch);
  ModelWeights result;
  const bool checkpoint = file.metadata.contains(kFormat);
  for (auto& [name, tensor] : file.tensors) {
    if (!checkpoint)
      result.weights[name] = tensor;
    else if (name.starts_with(kModel))
      result.weights[name.substr(kModel.size())] = tensor;
  }
  result.metadata = std::move(file.metadata);
  return result;
}

std::string config_differences(const nlohmann::json& before, const nlohmann::json& now) {
  using nlohmann::json;
  // Empty objects and arrays have no entry of their own when flattened; their owners' sizes tell.
  const json a = before.is_structured() && !before.empty() ? before.flatten() : json::object();
  const json b = now.is_structured() && !now.empty() ? now.flatten() : json::object();
  std::set<std::string> keys;
  for (const auto& [key, value] : a.items()) keys.insert(key);
  for (const auto& [key, value] : b.items()) keys.insert(key);
  std::string text;
  for (const std::string& key : keys) {
    const auto old_value = a.find(key), new_value = b.find(key);
    if (old_value != a.end() && new_value != b.end() && *old_value == *new_value) continue;
    std::string name = key.substr(std::min<std::size_t>(1, key.size()));
    std::replace(name.begin(), name.end(), '/', '.');
    text += fmt::format("{}{} ({}, now {})", text.empty() ? "" : ", ", name,
                        old_value == a.end() ? "absent" : old_value->dump(),
                        new_value == b.end() ? "absent" : new_value->dump());
  }
  return text;
}

}  // namespace thorax
