// Settings of a training run: command line, config.json and defaults.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "apps/command.h"
#include "apps/inference/model_file.h"
#include "data/view.h"

namespace thorax::app {

enum class Task { segmenter, classifier };
const char* name_of(Task task);

// What settings may be, on the command line and in a file.
namespace limits {
template <class T>
struct Range {
  T low, high;
};
inline constexpr Range<std::int64_t> kSize{
    kSmallestInput, kLargestInput};  // side of a network's square input, pixels
inline constexpr Range<std::int64_t> kWidth{1, 4096};
inline constexpr Range<std::int64_t> kEpochs{1, 1'000'000};
inline constexpr Range<std::int64_t> kBatch{1, 4096};
inline constexpr Range<std::int64_t> kFolds{2, 1000};
inline constexpr Range<std::int64_t> kNormBatches{0, 1'000'000};
inline constexpr Range<std::int64_t> kSeed{0, INT64_MAX};
inline constexpr Range<std::int64_t> kWorkers{1, 256};
inline constexpr Range<std::int64_t> kCacheMb{0, std::int64_t{1} << 30};
inline constexpr Range<std::int64_t> kCheckpointSeconds{1, 1'000'000'000};
inline constexpr Range<double> kMinArea{0, 1e9};
inline constexpr Range<double> kValidationShare{0.01, 0.9};
inline constexpr Range<double> kClipNorm{0, 1e30};
inline constexpr Range<double> kLabelSmoothing{0, 0.5};
inline constexpr Range<double> kLearningRate{1e-30, 1e6};
inline constexpr Range<std::int64_t> kEarlyStop{0, 1'000'000};
inline constexpr Range<std::int64_t> kAccumulate{1, 4096};
inline constexpr Range<std::int64_t> kPieces{1, 4096};
inline constexpr Range<double> kEma{0, 0.9999999};
}  // namespace limits

struct TrainSettings {
  Task task = Task::classifier;
  // What is learned from
  std::vector<std::string> data;             // kind:PATH[,key=value], see thorax data
  std::string classification = "auto";       // classifier: what it is to tell (data/class_task.h)
  std::string on_patient_conflict = "drop";  // a patient in two classes: report, error or drop
  std::string duplicates = "ignore";         // join: patients who share a radiograph are one
  std::string on_error = "fail";             // an unreadable image: fail or skip
  std::string segmenter;                     // classifier: checkpoint that cuts the lungs first
  double min_area = 50000;                   // images with smaller lungs are left out
  std::string view = "auto";                 // classifier: data/view.h; auto: lungs with a
                                             // segmenter, else whole
  std::string group = "patient";             // patient or image: what folds keep together
  std::int64_t folds = 3;                    // kfold
  double validation_share = 0.15;            // train: share of the patients held out
  // The network
  nlohmann::json model;  // {"model": "hrnet_w18", ...}, see models/README.md
  std::string weights;   // start from these (head left out where it does not fit)
  std::int64_t size = 224;
  std::string intensity =
      "depth";  // which stored value is white: depth, full, percentiles, stored, window2
  // How it learns
  std::string loss = "dice";        // segmenter: dice, generalised-dice or dice+ce
  std::string activation = "auto";  // segmenter: softmax, sigmoid; auto: by its masks
  std::int64_t epochs = 25;
  std::int64_t batch = 8;
  nlohmann::json optimizer;  // {"name": "sgd", "momentum": 0.8, ...}
  nlohmann::json schedule;   // {"name": "step", "lr": 0.01, ...}
  nlohmann::json augment = "study";
  std::string class_weights = "none";  // classifier: none, balanced, NAME=W,... (class_balance.h)
  double label_smoothing = 0;          // classifier
  std::string sampling = "uniform";    // classifier; balanced: every class as often
  std::string tta = "none";  // classifier, what it is judged by; flip: the mean over each image and
                             // its mirror image
  double clip_norm = 0;      // upper limit of the gradient's norm; 0 = none
  // Training batches over which batch norm's statistics are measured before every validation; 0 =
  // keep the moving averages (models/norm_statistics.h).
  std::int64_t norm_batches = 16;
  std::int64_t early_stop = 0;      // end after so many epochs without a better one; 0 = never
  std::vector<std::string> freeze;  // names of parameters that stay as they are (models/freeze.h)
  std::int64_t accumulate = 1;      // batches whose gradients make one step
  // Parts of a batch that are computed by themselves, so that ranks can share them out; 0: not
  // said, which is 1 for a process alone (ranks.h).
  std::int64_t pieces = 0;
  double ema = 0;                     // decay of the moving average of the weights; 0 = none
  std::string precision = "float32";  // of the activations: float32, float16 or bfloat16
  std::int64_t seed = 0;
  // The machine: not part of what a run computes
  std::int64_t workers = 1;
  std::int64_t cache_mb = 2048;
  std::int64_t checkpoint_seconds = 300;

  std::int64_t piece_images() const { return pieces > 1 ? batch / pieces : batch; }
  // The view with "auto" resolved.
  View seen() const;
  // Everything that decides the result (not the machine's part), for config.json.
  nlohmann::json to_json() const;
};

// Removes from to_json()'s result what says only where files lie or how they are read: that they
// are the same ones, with the same labels, is compared by their contents.
void erase_places(nlohmann::json& settings);

// What the command does unless told otherwise: settings with which each network learns from
// scratch.
TrainSettings default_settings(Task task);

// What to_json has written. Throws Error "[config] ..." for what it cannot have written.
TrainSettings settings_from_json(Task task, const nlohmann::json& json);

// Settings by name: "study" is the study's protocol (10 folds, 25 epochs, 512 x 512; the classifier
// by its Table 5, the UNet with its learning rate). Throws Error "[preset] ..." for another name.
TrainSettings preset_settings(Task task, const std::string& name);

// Throws Error for a model, view, schedule or augmentation that does not exist: now rather than
// after the images were read.
void check_settings(const TrainSettings& settings);

// Whose options: one network on one split, one network on folds, many networks, whose models and
// views other options name, or one network on one split that is tried and not kept.
enum class SettingsFor { train, kfold, rows, trial };

// The options of `train`, `kfold`, `compare` and `audit`. Collects what was given; `settings`
// resolves defaults < config file < command line.
class SettingsOptions {
 public:
  SettingsOptions(CLI::App& command, Task task, SettingsFor use);
  // Throws Error naming the file and key when the configuration has an unknown or wrong value.
  TrainSettings settings() const;

  std::filesystem::path out;
  bool resume = false;
  bool overwrite = false;
  bool graph = false;
  bool dry_run = false, json = false;  // see dry_run.h
  ComputeOptions compute;

 private:
  void choose_pieces(TrainSettings& settings) const;
  template <class T>
  CLI::Option* add(CLI::App& command, const char* flag, T TrainSettings::*member, const char* help);

  Task task_;
  std::string preset_, config_file_, model_name_, augment_, optimizer_, schedule_;
  double lr_ = 0;
  std::int64_t width_ = 0;
  TrainSettings given_;
  // What to copy from the command line: one entry per option.
  std::vector<std::pair<CLI::Option*, std::function<void(TrainSettings&)>>> overrides_;
};

}  // namespace thorax::app
