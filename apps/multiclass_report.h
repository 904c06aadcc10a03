// What train and kfold say of a classifier of three classes or more.
#pragma once

#include <string>
#include <vector>

#include "apps/experiment.h"
#include "apps/report/report.h"
#include "engine/stats/multiclass.h"

namespace thorax::app {

// Confusion matrix, a row per class and the means, to the terminal.
void print_multiclass(const MulticlassReport& report, const std::vector<std::string>& classes);

// crossval/ and report.html of a finished cross-validation.
void report_multiclass(const Experiment& experiment, const std::vector<FoldResult>& folds,
                       std::int64_t heatmaps, const Compute& compute);

// Sections that every report of a cross-validation has (kfold_report.cpp).
void add_training(Report& report, const std::filesystem::path& run,
                  const std::filesystem::path& out);
void add_heatmaps(Report& report, const Experiment& experiment, std::int64_t heatmaps,
                  const std::filesystem::path& out, const Compute& compute);

}  // namespace thorax::app
