// A run: its folder, its data and its split.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "apps/settings.h"
#include "data/dataset.h"
#include "engine/train/provenance.h"
#include "engine/train/run_folder.h"
#include "engine/train/splits.h"

namespace thorax::app {

struct Run {
  std::filesystem::path folder;
  Dataset dataset;
  std::vector<SplitItem> items;  // one per sample
  // Of the data before any lungs were cut: by contents, and as earlier versions had it.
  std::string data_checksum, names_checksum;
  // Locks the folder; takes everything back unless begin() is called, which is to happen when the
  // first step is done.
  std::shared_ptr<RunFolder> home;
  std::shared_ptr<RunHistory> history;
};

// What --on-error skip has left out of the data, by rule; rules that left nothing out are not
// named.
std::map<std::string, std::int64_t> left_out_counts(const Dataset& dataset);

struct RunRequest {
  std::filesystem::path folder;
  bool resume = false, overwrite = false;
  std::string command;   // "kfold classifier"
  nlohmann::json extra;  // what decides the result besides the settings, for config.json
  LockMode mode = LockMode::alone;
  std::vector<TrainSettings> networks = {};  // to be trained besides that of the settings
};

// Reads the data and checks everything (preflight.h), then creates the run folder, or with `resume`
// opens it after comparing settings and the data's contents; with a shared lock several processes
// may do so at a time. Finds the lungs (in folder/cut) when a segmenter is set, and prints what was
// read and removed. Writes config.json, provenance.json, data_checksums.json, manifest.csv and,
// with autotuning, autotune.json. What fails, here or until Run::home->begin(), leaves nothing
// behind.
Run open_run(const TrainSettings& settings, const RunRequest& request, const Compute& compute);

// For what looks at a run without beginning one.
struct ReadData {
  Dataset dataset;
  std::vector<SplitItem> items;
  std::vector<std::string> lines;  // on the files, for people
};
// Reads and checks what open_run reads and checks before it makes a folder. Writes nothing but,
// where `cut` is not empty and a segmenter is set, the lungs there; without `cut` they are not
// found, and images stay that would be left out for too small ones.
ReadData read_data(const TrainSettings& settings, const RunRequest& request, const Compute& compute,
                   const std::filesystem::path& cut = {});

// folder/NAME: made by `make` the first time, read and checked afterwards.
Splits run_splits(const Run& run, const std::string& name,
                  const std::function<Splits(const std::vector<SplitItem>&)>& make);

// What two folders of one run must agree on: its configuration but for the program's version and
// where files lie.
nlohmann::json without_places(nlohmann::json config);

Grouping grouping(const TrainSettings& settings);

// The samples with these ids, in their order.
std::vector<Sample> select(const Dataset& dataset, const std::vector<std::string>& ids);

}  // namespace thorax::app
