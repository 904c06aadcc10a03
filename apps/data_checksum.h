// Whether a run goes on with the data that it began with.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace thorax::app {

// Checksums of files' contents. Those of an earlier start are remembered by path, size, inode and
// times of change, so that a resumed run need not read every image to know that none has changed.
class FileChecksums {
 public:
  FileChecksums() = default;
  // Reads what save() wrote. A file that is absent, damaged or something else remembers nothing:
  // everything is read again.
  explicit FileChecksums(const std::filesystem::path& remembered);
  // What a file that changed within the last two seconds holds is not remembered: it may change
  // once more without its times telling.
  void save(const std::filesystem::path& path) const;

  // Reads those files that are not remembered, several at a time. "unreadable" for one that cannot
  // be read.
  void read(const std::vector<std::filesystem::path>& files);
  // After read().
  const std::string& of(const std::filesystem::path& file) const;
  // Files whose content was remembered as another one, in the order of their names.
  const std::vector<std::string>& changed() const { return changed_; }

 private:
  nlohmann::json remembered_ = nlohmann::json::object();  // by checksum of the path
  std::map<std::string, std::string> content_;            // by path
  std::vector<std::string> changed_;
};

// XXH3-64 of what a run learns from: source, name, patient, class and content of every image, names
// and contents of its masks. The same wherever the files lie, in whatever order they are read.
std::string content_checksum(const Dataset& dataset, FileChecksums& files);

}  // namespace thorax::app
