// Models by name, and their files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "models/model.h"
#include "models/weights.h"

namespace thorax {

// Names accepted under "model".
std::vector<std::string> model_names();

// Those whose output is a mask of the input's size; the others give one score per image and class.
std::vector<std::string> segmenter_names();

// Builds a model with starting values drawn from `seed`. `config` is an object with "model" and any
// of the model's own keys (README.md); the others keep their defaults. Throws Error "[model] ..."
// for an unknown model, an unknown key or a value of the wrong type or range.
std::unique_ptr<Model> create_model(const nlohmann::json& config, std::uint64_t seed = 0);

// Writes the state dict with the configuration in the metadata ("thorax.model"); `metadata` adds
// entries of the caller's own.
void save_model(const Model& model, const std::filesystem::path& path,
                const std::map<std::string, std::string>& metadata = {});
// Metadata entries that let load_model rebuild the model from a file.
std::map<std::string, std::string> model_metadata(const Model& model);

// Rebuilds the model that save_model (or a training checkpoint: tensors "model.*" among others)
// wrote, from the file alone, in eval mode. Throws Error naming the file when it is damaged, has no
// configuration, describes a network that does not fit its tensors, or holds values that are not
// finite.
struct ModelFile {
  std::unique_ptr<Model> model;
  std::map<std::string, std::string> metadata;
};
ModelFile read_model(const std::filesystem::path& path);
std::unique_ptr<Model> load_model(const std::filesystem::path& path);

}  // namespace thorax
