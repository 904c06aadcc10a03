// What train and kfold say of a classifier of several findings an image.
#pragma once

#include <string>
#include <vector>

#include "apps/experiment.h"

namespace thorax::app {

// A row for each finding, macro and micro, to the terminal.
void print_multilabel(const std::vector<Scored>& scored, const std::vector<std::string>& findings);

// crossval/ and report.html of a finished cross-validation.
void report_multilabel(const Experiment& experiment, const std::vector<FoldResult>& folds,
                       std::int64_t heatmaps, const Compute& compute);

}  // namespace thorax::app
