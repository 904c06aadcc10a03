// How a training went, from the metrics.jsonl that the trainer writes (engine/train/trainer.h).
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "apps/report/plot.h"

namespace thorax::app {

// The epochs of one run. Every metric has one value per epoch; what the log has as null, or not at
// all, is NaN.
struct TrainingLog {
  std::string name;                                    // the folder that the file lies in
  std::vector<double> epochs;                          // 1, 2, ...
  std::map<std::string, std::vector<double>> metrics;  // "train_loss", "loss", "dice", "lr", ...
};

// Reads the lines of kind "epoch"; lines of other kinds are left out, and so is a last line without
// its newline: the run may be writing it. Throws Error "[curves] FILE:LINE: ..." for what is not a
// JSON object, an epoch that is not a number above the one before, or a value that is no number;
// "[io] ..." when the file cannot be read.
TrainingLog read_training_log(const std::filesystem::path& file);

// metrics.jsonl of every fold_<k> of a run, in the order of k; of the folder itself when it has no
// folds. Folds without a log yet are left out; throws Error "[curves] ..." when none has one.
std::vector<TrainingLog> read_training_logs(const std::filesystem::path& run);

// Figure 10 of the study: training and validation loss by epoch, and the validation metrics. One
// run: its curves. Several (folds): means with a band of one sample standard deviation to each
// side, at each epoch over the runs that reached it. `title` stands before what each figure shows.
// Throws Error "[curves] ..." for no log, or none with an epoch.
std::vector<Plot> training_plots(const std::vector<TrainingLog>& logs, const std::string& title);

}  // namespace thorax::app
