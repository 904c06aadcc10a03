#include "engine/io/output_folder.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <set>
#include <string>

#include "engine/io/atomic_file.h"
#include "engine/tensor/error.h"

namespace thorax {

void open_output_folder(const std::filesystem::path& folder) {
  create_folders(folder);
  std::set<std::string> begun;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (const std::size_t mark = name.rfind(".tmp-"); mark != std::string::npos && mark > 0)
      begun.insert(name.substr(0, mark));
  }
  for (const std::string& name : begun) remove_leftovers_of(folder / name);
}

void check_output_file(const std::filesystem::path& file) {
  THORAX_CHECK(!std::filesystem::exists(file) || std::filesystem::is_regular_file(file),
               "[io] {}: is no regular file and is not replaced; name a file", file.string());
  const std::filesystem::path folder = file.has_parent_path() ? file.parent_path() : ".";
  THORAX_CHECK(::access(folder.c_str(), W_OK | X_OK) == 0, "[io] {}: cannot be created: {}",
               file.string(), std::strerror(errno));
  remove_leftovers_of(file);
}

}  // namespace thorax
