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

// Creates the run folder, or with --resume opens it after comparing settings; reads the data
// (cutting the lungs into folder/cut when a segmenter is set) and prints what was read and removed.
// Writes config.json, provenance.json and manifest.csv.
Run open_run(const TrainSettings& settings, const SettingsOptions& options, const char* command,
             const Compute& compute);

// folder/splits.json: made by `make` the first time, read and checked afterwards.
Splits run_splits(const Run& run, const std::function<Splits(const std::vector<SplitItem>&)>& make);

Grouping grouping(const TrainSettings& settings);

// The samples with these ids, in their order.
std::vector<Sample> select(const Dataset& dataset, const std::vector<std::string>& ids);

}  // namespace thorax::app
