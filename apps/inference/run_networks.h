// The trained networks of a run's folder.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace thorax {

// Whether the fold has left its result.json, which is written last.
bool fold_finished(const std::filesystem::path& folder);
// The fold's network for use: model.safetensors (weights alone) or last.safetensors. Throws Error
// "[fold] ..." when there is neither.
std::filesystem::path fold_model(const std::filesystem::path& folder);

// The checkpoints meant: a file is itself, the folder of a `kfold` run (or of a row of `compare`)
// its folds, the folder of a `train` run its network. Throws Error "[ensemble] ..." for a folder
// without networks, one whose folds are not all finished, and a file that is named twice.
std::vector<std::filesystem::path> classifier_files(const std::vector<std::string>& given);

}  // namespace thorax
