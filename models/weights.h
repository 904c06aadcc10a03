// Loading weights by name: a model's own, and what others have published.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "engine/nn/module.h"

namespace thorax {

class Model;

enum class WeightUse {
  exact,     // the same network: every name, nothing else
  pretrain,  // another task's weights: the head stays as it is and the file's head is ignored;
             // otherwise as `adapt`
  adapt,     // published weights: names of older versions are renamed, a first convolution over 3
             // channels is summed to fit a model with 1, batch counts may be missing, and a head
             // that does not fit is left out
};

struct WeightReport : LoadReport {
  // Name in the file, name in the model.
  std::vector<std::pair<std::string, std::string>> renamed;
  // What was changed to fit: "conv1.weight: 3 channels summed to 1".
  std::vector<std::string> adapted;
  // Tensors of the file's head that were not taken over.
  std::vector<std::string> left_out;
};

// Loads a safetensors state dict (PyTorch's order) into the model: published weights, or a file
// made by save_model. Throws Error naming the file and what is missing, unknown or of another
// shape; nothing is changed then. The report lists what the mode allowed.
WeightReport load_model_weights(const Model& model, const std::filesystem::path& path,
                                WeightUse use = WeightUse::exact);
// The same from memory; `path` names the source in errors.
WeightReport load_model_weights(const Model& model, StateDict dict,
                                const std::filesystem::path& path, WeightUse use);

}  // namespace thorax
