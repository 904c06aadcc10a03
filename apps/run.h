// A run: its folder, its data and its split.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "apps/settings.h"
#include "data/dataset.h"
#include "engine/train/splits.h"

namespace thorax::app {

struct Run {
  std::filesystem::path folder;
  Dataset dataset;
  std::vector<SplitItem> items;  // one per sample
};

struct RunRequest {
  std::filesystem::path folder;
  bool resume = false, overwrite = false;
  std::string command;   // "kfold classifier"
  nlohmann::json extra;  // what decides the result besides the settings, for config.json
};

// Creates the run folder, or with `resume` opens it after comparing settings (several processes may
// do so at a time); reads the data, finds the lungs (in folder/cut) when a segmenter is set, and
// prints what was read and removed. Writes config.json, provenance.json, manifest.csv and, with
// autotuning, autotune.json.
Run open_run(const TrainSettings& settings, const RunRequest& request, const Compute& compute);

// folder/NAME: made by `make` the first time, read and checked afterwards.
Splits run_splits(const Run& run, const std::string& name,
                  const std::function<Splits(const std::vector<SplitItem>&)>& make);

Grouping grouping(const TrainSettings& settings);

// The samples with these ids, in their order.
std::vector<Sample> select(const Dataset& dataset, const std::vector<std::string>& ids);

}  // namespace thorax::app
