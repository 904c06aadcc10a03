// Settings of a training run: command line, config.json and defaults.
#pragma once

#include <CLI/CLI.hpp>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "apps/command.h"

namespace thorax::app {

enum class Task { segmenter, classifier };
const char* name_of(Task task);

struct TrainSettings {
  Task task = Task::classifier;
  // What is learned from
  std::vector<std::string> data;             // kind:PATH[,key=value], see thorax data
  std::string on_patient_conflict = "drop";  // a patient in two classes: report, error or drop
  std::string on_error = "fail";             // an unreadable image: fail or skip
  std::string segmenter;                     // classifier: checkpoint that cuts the lungs first
  double min_area = 50000;                   // images with smaller lungs are left out
  std::string group = "patient";             // patient or image: what folds keep together
  std::int64_t folds = 3;                    // kfold
  double validation_share = 0.15;            // train: share of the patients held out
  // The network
  nlohmann::json model;  // {"model": "hrnet_w18", ...}, see models/README.md
  std::string weights;   // start from these (head left out where it does not fit)
  std::int64_t size = 224;
  // How it learns
  std::int64_t epochs = 25;
  std::int64_t batch = 8;
  nlohmann::json optimizer;  // {"name": "sgd", "momentum": 0.8, ...}
  nlohmann::json schedule;   // {"name": "step", "lr": 0.01, ...}
  nlohmann::json augment = "study";
  double clip_norm = 0;  // upper limit of the gradient's norm; 0 = none
  // Training batches over which batch norm's statistics are measured before every validation; 0 =
  // keep the moving averages (models/norm_statistics.h).
  std::int64_t norm_batches = 16;
  std::string precision = "float32";  // of the activations: float32, float16 or bfloat16
  std::int64_t seed = 0;
  // The machine: not part of what a run computes
  std::int64_t workers = 1;
  std::int64_t cache_mb = 2048;
  std::int64_t checkpoint_seconds = 300;

  // Everything that decides the result (not the machine's part), for config.json.
  nlohmann::json to_json() const;
};

// The task's defaults: the study's where it states them (paper Table 5 for the classifier, section
// 2 for the UNet).
TrainSettings default_settings(Task task);

// The options of `train` and `kfold`. Collects what was given; `settings` resolves defaults <
// config file < command line.
class SettingsOptions {
 public:
  SettingsOptions(CLI::App& command, Task task, bool folds);
  // Throws Error naming the file and key when the configuration has an unknown or wrong value.
  TrainSettings settings() const;

  std::filesystem::path out;
  bool resume = false;
  bool overwrite = false;
  ComputeOptions compute;

 private:
  template <class T>
  CLI::Option* add(CLI::App& command, const char* flag, T TrainSettings::*member, const char* help);

  Task task_;
  std::string config_file_, model_name_, augment_, optimizer_, schedule_;
  double lr_ = 0;
  std::int64_t width_ = 0;
  TrainSettings given_;
  // What to copy from the command line: one entry per option.
  std::vector<std::pair<CLI::Option*, std::function<void(TrainSettings&)>>> overrides_;
};

}  // namespace thorax::app
