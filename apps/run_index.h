// The runs below a folder: what each is, how far it has come and what it found.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/report/table.h"
#include "apps/report/training_curves.h"

namespace thorax::app {

// One network of a run: the run itself (train), or a fold of it.
struct RunPart {
  std::string name;  // "", "fold_0", "resnet152-lungs/fold_0"
  std::filesystem::path folder;
  bool finished = false;
  TrainingLog log;  // without epochs when none has ended
};

struct RunEntry {
  std::string name;  // its folder, below the one that was looked in
  std::filesystem::path folder;
  std::string command;    // "kfold classifier"
  nlohmann::json config;  // of config.json
  std::string started;    // of the first start, "2026-11-28T16:32:37Z"; empty when not known
  bool finished = false;
  bool at_work = false;  // a process of this machine holds its lock
  std::vector<RunPart> parts;

  // "finished", "at work" or "stopped".
  std::string state() const;
  // Epochs of all parts.
  std::int64_t epochs() const;
};

struct RunIndex {
  std::vector<RunEntry> runs;  // by name
  // Folders that look like runs and cannot be read, each with its reason.
  std::vector<std::string> unreadable;
};

// Looks through `root` and the folders below it; inside a run for nothing further. Symbolic links
// are not followed. Changes nothing, and disturbs no run that is at work. Throws Error "[runs] ..."
// when `root` is no folder.
RunIndex find_runs(const std::filesystem::path& root);

// The metrics of the parts' last epochs, as means over the parts that have them; empty for runs
// that train several networks (compare, audit), whose means would say nothing.
std::map<std::string, double> last_metrics(const RunEntry& run);

// One row a run, or with `parts` a row for every part.
Table run_table(const std::vector<RunEntry>& runs, bool parts);

// run,part,epoch,metric,value for every number of every metrics.jsonl.
std::string metrics_csv(const std::vector<RunEntry>& runs);

}  // namespace thorax::app
