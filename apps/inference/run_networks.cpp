#include "apps/inference/run_networks.h"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/io/config.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

namespace fs = std::filesystem;

// The number of "fold_7"; -1 for another name.
int fold_number(const fs::path& folder) {
  const std::string name = folder.filename().string();
  constexpr std::string_view kPrefix = "fold_";
  int number = -1;
  if (!name.starts_with(kPrefix)) return -1;
  const char *first = name.data() + kPrefix.size(), *last = name.data() + name.size();
  const auto [end, error] = std::from_chars(first, last, number);
  return error == std::errc() && end == last ? number : -1;
}

std::vector<fs::path> networks_of(const fs::path& run) {
  std::set<int> numbers;
  for (const fs::directory_entry& entry : fs::directory_iterator(run))
    if (const int number = fold_number(entry.path()); number >= 0 && entry.is_directory())
      numbers.insert(number);
  if (numbers.empty()) {
    THORAX_CHECK(fs::exists(run / "last.safetensors") || fs::exists(run / "model.safetensors"),
                 "[ensemble] {}: holds neither folds nor last.safetensors: give the folder of a "
                 "train or kfold run, of a row of compare (RUN/rows/NAME), or a checkpoint",
                 run.string());
    return {fold_model(run)};
  }
  // Which folds there must be stands in the run's splits; folds of one row share those of the run.
  int wanted = *numbers.rbegin() + 1;
  for (const fs::path& folder : {run, run.parent_path().parent_path()})
    if (fs::exists(folder / "splits.json")) {
      const nlohmann::json splits = load_json(folder / "splits.json");
      if (splits.contains("folds") && splits["folds"].is_array())
        wanted = static_cast<int>(splits["folds"].size());
      break;
    }
  std::vector<fs::path> files;
  for (int k = 0; k < wanted; ++k) {
    const fs::path folder = run / fmt::format("fold_{}", k);
    THORAX_CHECK(fold_finished(folder),
                 "[ensemble] {}: of its {} folds, fold_{} is not finished: finish the run with "
                 "--resume, or name the checkpoints that are meant",
                 run.string(), wanted, k);
    files.push_back(fold_model(folder));
  }
  return files;
}

}  // namespace

bool fold_finished(const fs::path& folder) {
  return fs::exists(folder / "result.json");
}

fs::path fold_model(const fs::path& folder) {
  for (const char* name : {"model.safetensors", "last.safetensors"})
    if (fs::exists(folder / name)) return folder / name;
  fail("[fold] {}: holds neither model.safetensors nor last.safetensors", folder.string());
}

std::vector<fs::path> classifier_files(const std::vector<std::string>& given) {
  std::vector<fs::path> files;
  for (const std::string& name : given) {
    const std::vector<fs::path> more =
        fs::is_directory(name) ? networks_of(name) : std::vector<fs::path>{name};
    files.insert(files.end(), more.begin(), more.end());
  }
  std::set<fs::path> seen;
  for (const fs::path& file : files) {
    std::error_code error;
    THORAX_CHECK(seen.insert(fs::weakly_canonical(file, error)).second,
                 "[ensemble] {}: is named twice, and would count twice in the mean", file.string());
  }
  return files;
}

}  // namespace thorax
