// Files of provider choices: the autotune cache and a run's record.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "engine/registry/autotune.h"

namespace thorax {

// A cache's choices hold for a build, its libraries, the number of threads and a set of candidates;
// a record's for the run, wherever it goes on with a device of the same name.
enum class ChoiceFileKind { cache, record };

class ChoiceFile {
 public:
  using Message = std::function<void(const std::string&)>;
  // Reads the file if it is there; an empty one has no choices. A damaged cache is set aside as
  // NAME.bad, a damaged record is an Error; a file that does not say that it holds choices is
  // always one, and is not touched.
  ChoiceFile(std::filesystem::path path, ChoiceFileKind kind, Message message);

  const std::filesystem::path& path() const { return path_; }
  // Writes the file, without a choice, where it is not there yet.
  void create();
  // What the file has for the problem, device and so on of `wanted`; null when nothing.
  const ProviderChoice* find(const ProviderChoice& wanted) const;
  // Adds a choice, under a lock shared with other processes, and gives what the file has then:
  // another process may have been first. A cache that cannot be written is said once and kept in
  // memory; a record that cannot is an Error.
  ProviderChoice add(const ProviderChoice& choice);

 private:
  std::string key(const ProviderChoice& choice) const;
  void read();
  void write();

  std::filesystem::path path_;
  ChoiceFileKind kind_;
  Message message_;
  bool writable_ = true;
  std::map<std::string, ProviderChoice> choices_;
};

}  // namespace thorax
