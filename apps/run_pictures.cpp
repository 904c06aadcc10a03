#include "apps/run_pictures.h"

#include <algorithm>

namespace thorax::app {

namespace fs = std::filesystem;

std::map<std::string, std::vector<fs::path>> run_pictures(const RunEntry& run) {
  std::map<std::string, std::vector<fs::path>> folders;
  std::error_code error;
  auto entry = fs::recursive_directory_iterator(
      run.folder, fs::directory_options::skip_permission_denied, error);
  for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    std::error_code gone;
    if (entry.depth() == 0 && name == "cut" && entry->is_directory(gone)) {
      entry.disable_recursion_pending();
      continue;
    }
    if (entry->path().extension() == ".png" && !name.starts_with(".") &&
        entry->is_regular_file(gone))
      folders[fs::relative(entry->path().parent_path(), run.folder).string()].push_back(
          entry->path());
  }
  for (auto& [folder, pictures] : folders) std::sort(pictures.begin(), pictures.end());
  return folders;
}

}  // namespace thorax::app
