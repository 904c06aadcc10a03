// The folder of one run: who may use it, and the rules against losing what is in it.
//
//   config.json      what decides the result, as the first start had it
//   provenance.json  one entry per start (provenance.h)
//   lock             held by every process of the run from opening to end
//
// Beside it, while another run takes its place: ".NAME.replaced-<digits>", which is removed.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "engine/io/file_lock.h"

namespace thorax {

// What to do with a folder that holds a run already.
enum class IfExists { refuse, resume, overwrite };

class RunFolder {
 public:
  using Message = std::function<void(const std::string&)>;

  // Looks at the folder and, where a run is there that goes on or is replaced, locks it: `mode` is
  // alone for a run of one process, shared where several work side by side; a run that is replaced
  // is always locked alone, with every fold in it. Changes nothing but what killed processes of the
  // same run have left: temporary files, half-removed replaced runs. Throws Error "[run] ..."
  //   refuse:    when the folder has anything in it
  //   resume:    when it has files but no run of this program; without any, a run begins
  //   overwrite: the same: only a run of this program is ever replaced
  //   when another process is at work there, naming the lock.
  RunFolder(std::filesystem::path path, IfExists if_exists, LockMode mode, Message message);
  // Unless the run went on or begin() was called: takes everything back that create() did.
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  // True when the folder held a run that goes on; `config` is then what it began with.
  bool resumed() const { return resumed_; }
  const nlohmann::json& config() const { return config_; }
  // Of config.json: 2, or 1 for runs of versions that did not say so.
  int format() const { return format_; }
  // The folder without symbolic links.
  const std::filesystem::path& path() const { return path_; }

  // Makes the run: the folder with config.json, or in place of the run that is replaced, which
  // stays whole beside it until begin(). At every moment the folder holds one run that can be
  // resumed. To be called once everything is checked and only if not resumed(). Another process may
  // have made the run meanwhile: with `resume` that one goes on, and resumed() is true afterwards.
  void create(const nlohmann::json& config);
  // The run has something worth keeping: a replaced run is removed. May be called again.
  void begin();

 private:
  void open(IfExists if_exists);
  void lock_run(LockMode mode);
  void lock_all_of_old();
  void clear_replaced();
  void replace(const nlohmann::json& config);
  void make(const nlohmann::json& config);
  void take_back() noexcept;
  std::filesystem::path beside(const char* word) const;

  std::filesystem::path path_;
  IfExists if_exists_;
  LockMode mode_;
  Message message_;
  nlohmann::json config_;
  int format_ = 2;
  bool resumed_ = false, replaces_ = false, created_ = false, begun_ = false;
  std::optional<FileLock> lock_;
  std::vector<FileLock> old_locks_;                     // of the replaced run
  std::filesystem::path replaced_;                      // where that one lies
  std::vector<std::filesystem::path> created_folders_;  // outermost first
};

// The config.json of a run of this program, without what only marks it as one; `format` is set to
// its version. Throws Error "[run] PATH: ..." when it is none, or of a later version.
nlohmann::json load_run_config(const std::filesystem::path& path, int* format = nullptr);
// Whether a JSON document is such a configuration.
bool is_run_config(const nlohmann::json& document);
// Whether `path` is `folder` or lies below it; both without symbolic links.
bool is_inside(const std::filesystem::path& path, const std::filesystem::path& folder);

}  // namespace thorax
