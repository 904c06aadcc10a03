#include "apps/run_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string_view>

#include "engine/tensor/error.h"

namespace thorax::app {
namespace {

namespace fs = std::filesystem;

const std::set<std::string, std::less<>> kFiles{
    "autotune.json",     "best.safetensors",      "config.json",          "data_checksums.json",
    "last.safetensors",  "last.prev.safetensors", "manifest.csv",         "metrics.jsonl",
    "model.safetensors", "predictions.csv",       "provenance.json",      "report.html",
    "result.json",       "splits.json",           "splits_by_image.json", "unreadable.csv"};
const std::set<std::string, std::less<>> kFolders{"audit", "comparison",   "crossval",
                                                  "cut",   "cut_external", "rows"};
const std::set<std::string, std::less<>> kEndings{".csv", ".html",        ".json", ".jsonl",
                                                  ".png", ".safetensors", ".svg",  ".txt"};

// Of a process that was killed (engine/io/atomic_file.h), or of a checkpoint on its way.
bool is_passing(std::string_view name) {
  return name.find(".tmp-") != std::string_view::npos || name.starts_with("last.new.") ||
         name.starts_with("last.link.");
}

bool is_lock(std::string_view name) {
  return name == "lock" || name.ends_with(".lock");
}

bool is_fold(std::string_view name) {
  constexpr std::string_view kFold = "fold_";
  return name.starts_with(kFold) && name.size() > kFold.size() &&
         name.find_first_not_of("0123456789", kFold.size()) == std::string_view::npos;
}

void look(const fs::path& folder, const fs::path& relative, std::vector<std::string>& foreign) {
  for (const auto& entry : fs::directory_iterator(folder / relative)) {
    const std::string name = entry.path().filename().string();
    const bool top = relative.empty();
    bool own = false;
    if (entry.is_symlink()) {
      own = false;
    } else if (entry.is_directory()) {
      own = !top || kFolders.contains(name) || is_fold(name);
      if (own) look(folder, relative / name, foreign);
    } else {
      own = is_lock(name) || is_passing(name) ||
            (top ? kFiles.contains(name) : kEndings.contains(entry.path().extension().string()));
    }
    if (!own) foreign.push_back((relative / name).string());
  }
}

}  // namespace

std::vector<std::string> foreign_files(const fs::path& folder) {
  std::vector<std::string> foreign;
  look(folder, {}, foreign);
  std::sort(foreign.begin(), foreign.end());
  return foreign;
}

void check_only_run_files(const fs::path& folder) {
  std::vector<std::string> foreign = foreign_files(folder);
  if (foreign.empty()) return;
  constexpr std::size_t kShown = 8;
  const std::size_t count = foreign.size();
  if (count > kShown) {
    foreign.resize(kShown);
    foreign.push_back(fmt::format("... ({} in all)", count));
  }
  fail(
      "[run] {}: holds what no run writes: {}; --overwrite would remove it: move it elsewhere, or "
      "give another --out",
      folder.string(), fmt::join(foreign, ", "));
}

}  // namespace thorax::app
