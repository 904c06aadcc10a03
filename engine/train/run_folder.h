// The folder of one run and the record of what made it.
//
//   config.json      the configuration, as a later run would be given it
//   provenance.json  one entry per start: versions, compiler, processor, threads, seed, data
//   checksum splits.json      who trained and who was held out fold_<k>/        last, best,
//   metrics.jsonl, predictions, pictures (k from 1) crossval/        summary of all folds
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "engine/tensor/dtype.h"

namespace thorax {

// What to do with a folder that holds a run already.
enum class IfExists { refuse, resume, overwrite };

class RunFolder {
 public:
  // Creates the folder and writes config.json, or
  //   refuse:    Error when the folder has anything in it
  //   resume:    checks that config.json equals `config` (Error naming the keys that differ);
  //   starts
  //              anew where there is no run yet
  //   overwrite: empties it first, but only a folder that a run made (it holds a config.json)
  // and adds an entry to provenance.json. `seed` and `data_checksum` are recorded.
  RunFolder(std::filesystem::path path, IfExists if_exists, const nlohmann::json& config,
            std::uint64_t seed, const std::string& data_checksum = {}, Device device = {});

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  // fold_<number>, created.
  std::filesystem::path fold(int number) const;
  std::filesystem::path crossval() const;
  // True when the folder held a run that goes on.
  bool resumed() const { return resumed_; }

 private:
  std::filesystem::path path_;
  bool resumed_ = false;
};

// What is computing: program and library versions, compiler, build type, git commit if known,
// device and its name, processor, threads, time.
nlohmann::json provenance(Device device = {});

}  // namespace thorax
