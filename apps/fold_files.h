// What a finished fold leaves behind, and reading it back.
#pragma once

#include <filesystem>
#include <string>

#include "apps/training.h"

namespace thorax::app {

// Writes folder/predictions.csv and, last, folder/result.json: a fold is finished when that is
// there. It holds the checksums of predictions.csv, metrics.jsonl and of the network's file
// `model`, which are there then, and of itself. Nothing in it depends on time.
void save_fold(const std::filesystem::path& folder, Task task, const FoldResult& result,
               const std::string& model);
// Throws Error naming the file when one of them is absent, broken, of another task, or not as it
// was when the fold was finished. A fold of an earlier version, which kept no checksums, is read
// with a line on stderr that says so.
FoldResult load_fold(const std::filesystem::path& folder, Task task);

}  // namespace thorax::app
