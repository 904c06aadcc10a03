// Loading weights by name: a model's own, and what others have published.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "engine/nn/module.h"
#include "models/weight_file.h"

namespace thorax {

class Model;

enum class WeightUse {
  exact,     // the same network: every name, nothing else
  pretrain,  // another task's weights: the head stays as it is and the file's head is ignored;
             // otherwise as `adapt`
  adapt,     // published weights: names of older versions are renamed, a first convolution over 3
             // channels is summed to fit a model with 1 (one over 1 channel spread over 3), that of
             // torchxrayvision's DenseNets is multiplied to fit this program's pixels, batch counts
             // may be missing, and a head that does not fit is left out
};

struct WeightReport : LoadReport {
  // Name in the file, name in the model.
  std::vector<std::pair<std::string, std::string>> renamed;
  // What was changed to fit: "conv1.weight: 3 channels summed to 1".
  std::vector<std::string> adapted;
  // Tensors of the file's head that were not taken over, and why.
  std::vector<std::string> left_out;
  std::string head_reason;
  // What was chosen of the file's content and what was passed over (weight_file.h).
  std::vector<std::string> notes;
  // What stood before every name and was taken off: "module.". Empty: nothing.
  std::string prefix;
};

// Loads a state dict (safetensors in PyTorch's order, or what torch.save wrote) into the model:
// published weights, or a file made by save_model or a training run. Throws Error naming the file
// and what is missing, unknown, of another shape or not finite; nothing is changed then. The report
// lists what the mode allowed.
//
// Unless `exact`, a prefix that wrappers put before every name ("module.", "_orig_mod.", "ema.",
// and any other that turns the names into the model's) is taken off; where two prefixes lead to a
// whole network the file holds two, and which one is meant is not guessed: Error naming both.
WeightReport load_model_weights(const Model& model, const std::filesystem::path& path,
                                WeightUse use = WeightUse::exact);
// The same of a file that has been read; `path` names the source in errors.
WeightReport load_model_weights(const Model& model, WeightFile file,
                                const std::filesystem::path& path, WeightUse use);
// The same from memory.
WeightReport load_model_weights(const Model& model, StateDict dict,
                                const std::filesystem::path& path, WeightUse use);

}  // namespace thorax
