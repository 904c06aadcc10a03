#include "engine/train/run_folder.h"

#include <algorithm>

#include "engine/io/atomic_file.h"
#include "engine/io/config.h"
#include "engine/io/swap_folders.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kConfig = "config.json";
constexpr const char* kLock = "lock";
constexpr const char* kStartLock = "start.lock";  // held while a process opens the run
constexpr const char* kFormat = "thorax run";
constexpr int kVersion = 2;

bool is_lock(const fs::path& file) {
  return file.filename() == kLock || file.filename() == kStartLock;
}

// As a process leaves its folder that was killed before config.json was there.
bool nothing_but_locks(const fs::path& folder) {
  const fs::directory_iterator entries(folder);
  return std::all_of(begin(entries), end(entries),
                     [](const auto& entry) { return is_lock(entry.path()); });
}

// Removes what is in a run's folder. What makes it a run goes last: killed in between, it is still
// known as one.
void empty_run(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder))
    if (!is_lock(entry.path()) && entry.path().filename() != kConfig) fs::remove_all(entry.path());
  for (const char* name : {kConfig, kStartLock, kLock}) fs::remove(folder / name);
}

// For good: a power loss brings nothing of it back.
void remove_run(const fs::path& folder) {
  empty_run(folder);
  fs::remove(folder);
  sync_folder(folder.parent_path());
}

bool holds_run(const fs::path& folder) {
  try {
    return is_run_config(load_json(folder / kConfig));
  } catch (const std::exception&) {
    return false;
  }
}

fs::path resolved(const fs::path& path) {
  std::error_code error;
  THORAX_CHECK(!path.empty(), "[run] a run needs a folder");
  if (fs::exists(path, error)) return fs::canonical(path);
  THORAX_CHECK(!fs::is_symlink(fs::symlink_status(path, error)),
               "[run] {}: is a symbolic link to nothing", path.string());
  fs::path result = fs::absolute(path).lexically_normal();
  return result.has_filename() ? result : result.parent_path();
}

}  // namespace

bool is_inside(const fs::path& path, const fs::path& folder) {
  const fs::path relative = path.lexically_relative(folder);
  return !relative.empty() && *relative.begin() != "..";
}

bool is_run_config(const json& document) {
  if (!document.is_object()) return false;
  const auto is = [&](const char* key, auto check) {
    const auto found = document.find(key);
    return found != document.end() && check(*found);
  };
  if (is("format", [](const json& v) { return v == kFormat; })) return true;
  const auto text = [](const json& v) { return v.is_string(); };
  return is("command", text) && is("version", text) && is("settings", [](const json& v) {
           return v.is_object() && v.contains("task") && v.contains("model") &&
                  v.contains("optimizer");
         });
}

json load_run_config(const fs::path& path, int* format) {
  json config = load_json(path);
  THORAX_CHECK(is_run_config(config), "[run] {}: is not the configuration of a thorax run",
               path.string());
  int version = 1;
  if (config.contains("format")) {
    const json number = config.value("format_version", json());
    THORAX_CHECK(number.is_number_integer() && number >= 2 && number <= kVersion,
                 "[run] {}: has format version {}, this program reads up to {}", path.string(),
                 number.dump(), kVersion);
    version = number;
  }
  config.erase("format");
  config.erase("format_version");
  if (format != nullptr) *format = version;
  return config;
}

RunFolder::RunFolder(fs::path path, IfExists if_exists, LockMode mode, Message message)
    : path_(resolved(path)), if_exists_(if_exists), mode_(mode), message_(std::move(message)) {
  std::error_code error;
  if (!fs::exists(path_, error)) {
    // A process that was killed between three renames (swap_folders.h).
    for (fs::directory_iterator at(path_.parent_path(), error), end; !error && at != end;
         at.increment(error)) {
      const std::string name = at->path().filename().string(), start = beside("kept").filename();
      // The digits differ, the rest does not.
      if (name.size() != start.size() ||
          name.compare(0, name.size() - 16, start, 0, start.size() - 16) != 0 ||
          !holds_run(at->path()))
        continue;
      const fs::path kept = at->path();
      fs::rename(kept, path_);
      message_(fmt::format("[run] {}: was being replaced by a process that was killed; it is back",
                           path_.string()));
      break;
    }
  }
  if (fs::exists(path_, error)) open(if_exists);
}

void RunFolder::open(IfExists if_exists) {
  THORAX_CHECK(fs::is_directory(path_), "[run] {}: is not a folder", path_.string());
  const fs::path config_path = path_ / kConfig;
  if (!fs::exists(config_path)) {
    remove_leftovers_of(config_path);
    THORAX_CHECK(nothing_but_locks(path_),
                 "[run] {}: exists, is not empty and is no run (it has no config.json); give "
                 "another --out",
                 path_.string());
    clear_replaced();
    return;
  }
  config_ = load_run_config(config_path, &format_);
  if (if_exists == IfExists::refuse)
    fail("[run] {}: holds a run already; give --resume, --overwrite or another --out",
         path_.string());
  const FileLock start(path_ / kStartLock);
  if (if_exists == IfExists::overwrite) {
    lock_run(LockMode::alone);
    lock_all_of_old();
    replaces_ = true;
  } else {
    lock_run(mode_);
    resumed_ = true;
    remove_leftovers(path_);
  }
  clear_replaced();
}

void RunFolder::lock_run(LockMode mode) {
  lock_ = FileLock::try_lock(path_ / kLock, mode);
  if (!lock_)
    fail("[run] {}: another process is at work in this run; wait for its end or give another --out",
         (path_ / kLock).string());
}

// Folds have locks of their own, and earlier versions held no others.
void RunFolder::lock_all_of_old() {
  std::vector<fs::path> locks;
  for (const auto& entry : fs::recursive_directory_iterator(path_))
    if (entry.path().filename() == kLock && entry.path() != path_ / kLock &&
        entry.is_regular_file())
      locks.push_back(entry.path());
  for (const fs::path& file : locks) {
    std::optional<FileLock> lock = FileLock::try_lock(file);
    if (!lock)
      fail("[run] {}: another process is at work there; the run is not replaced", file.string());
    old_locks_.push_back(std::move(*lock));
  }
}

// ".NAME.<word>-<16 digits>" beside the folder; long names are cut.
fs::path RunFolder::beside(const char* word) const {
  return path_.parent_path() /
         fmt::format(".{}.{}-{}", path_.filename().string().substr(0, 200), word, random_digits());
}

// What processes that were killed in or after replace() have left.
void RunFolder::clear_replaced() {
  std::error_code error;
  std::vector<fs::path> found;
  for (fs::directory_iterator at(path_.parent_path(), error), end; !error && at != end;
       at.increment(error)) {
    if (!at->is_directory() || at->is_symlink()) continue;
    const std::string name = at->path().filename().string();
    for (const char* word : {"replaced", "kept"}) {
      const std::string start = beside(word).filename().string();
      if (name.size() == start.size() &&
          name.compare(0, name.size() - 16, start, 0, start.size() - 16) == 0 &&
          name.find_first_not_of("0123456789abcdef", name.size() - 16) == std::string::npos)
        found.push_back(at->path());
    }
  }
  for (const fs::path& folder : found) {
    // Its own process may still be alive.
    const std::optional<FileLock> lock = FileLock::try_lock(folder / kLock);
    if (!lock) continue;
    // A process may have been killed while it wrote the new run's config.json there.
    remove_leftovers(folder);
    if (!(holds_run(folder) || nothing_but_locks(folder))) continue;
    try {
      remove_run(folder);
    } catch (const std::exception& problem) {
      message_(fmt::format("[run] {}: was replaced and cannot be removed: {}", folder.string(),
                           problem.what()));
    }
  }
}

void RunFolder::create(const json& config) {
  THORAX_CHECK(!resumed_ && !created_, "[run] {}: is there already", path_.string());
  json marked = config;
  marked["format"] = kFormat;
  marked["format_version"] = kVersion;
  replaces_ ? replace(marked) : make(marked);
}

void RunFolder::make(const json& config) {
  for (fs::path folder = path_; !fs::exists(folder); folder = folder.parent_path())
    created_folders_.insert(created_folders_.begin(), folder);
  create_folders(path_);
  const FileLock start(path_ / kStartLock);
  lock_run(mode_);
  if (fs::exists(path_ / kConfig)) {
    created_folders_.clear();
    if (if_exists_ != IfExists::resume)
      fail("[run] {}: another process has made a run there meanwhile; --resume joins it",
           path_.string());
    config_ = load_run_config(path_ / kConfig, &format_);
    resumed_ = true;
    return;
  }
  created_ = true;
  THORAX_CHECK(nothing_but_locks(path_), "[run] {}: somebody has put files there meanwhile",
               path_.string());
  save_json(path_ / kConfig, config);
}

void RunFolder::replace(const json& config) {
  std::error_code error;
  THORAX_CHECK(!is_inside(fs::current_path(error), path_),
               "[run] {}: the working directory lies in it; start from elsewhere to replace it",
               path_.string());
  const fs::path fresh = beside("replaced");
  std::optional<FileLock> lock;
  try {
    create_folders(fresh);
    lock = FileLock::try_lock(fresh / kLock, mode_);
    THORAX_CHECK(lock.has_value(), "[run] {}: is locked by another process", fresh.string());
    save_json(fresh / kConfig, config);
    swap_folders(fresh, path_, beside("kept"));
  } catch (...) {
    if (fs::exists(fresh, error)) {
      remove_run(fresh);
    }
    throw;
  }
  // Held until it is removed, or another process would take it for a leftover.
  old_locks_.push_back(std::move(*lock_));
  lock_ = std::move(lock);
  replaced_ = fresh;
  created_ = true;
}

void RunFolder::begin() {
  begun_ = true;
  if (replaced_.empty()) return;
  try {
    remove_run(replaced_);
  } catch (const std::exception& problem) {
    message_(fmt::format("[run] {}: was replaced and cannot be removed: {}", replaced_.string(),
                         problem.what()));
  }
  replaced_.clear();
  old_locks_.clear();
}

RunFolder::~RunFolder() {
  if (created_ && !begun_) take_back();
}

void RunFolder::take_back() noexcept {
  try {
    // Others may have joined the run by now; then it is theirs.
    if (!lock_ || !lock_->change(LockMode::alone)) return begin();
    if (!replaced_.empty()) {
      swap_folders(replaced_, path_, beside("kept"));
      remove_run(replaced_);
      return;
    }
    empty_run(path_);
    // Innermost first; one that something else is in stays.
    std::error_code error;
    for (auto folder = created_folders_.rbegin(); folder != created_folders_.rend(); ++folder)
      fs::remove(*folder, error);
  } catch (const std::exception& problem) {
    try {
      message_(fmt::format("[run] {}: could not be put back as it was: {}", path_.string(),
                           problem.what()));
    } catch (...) {
    }
  }
}

}  // namespace thorax
