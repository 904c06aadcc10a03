// What a finished fold leaves behind, and reading it back.
#pragma once

#include <filesystem>

#include "apps/training.h"

namespace thorax::app {

// Writes folder/predictions.csv and, last, folder/result.json: a fold is finished when that is
// there.
void save_fold(const std::filesystem::path& folder, Task task, const FoldResult& result);
bool fold_finished(const std::filesystem::path& folder);
// Throws Error naming the file when one of the two is absent, broken or of another task.
FoldResult load_fold(const std::filesystem::path& folder, Task task);

// The fold's network for use: model.safetensors (weights alone) or last.safetensors.
std::filesystem::path fold_model(const std::filesystem::path& folder);

}  // namespace thorax::app
