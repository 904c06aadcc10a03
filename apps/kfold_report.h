// What `kfold` writes when every fold is finished.
#pragma once

#include "apps/experiment.h"

namespace thorax::app {

// run/crossval/: summary.json, the tables as CSV, JSON and text, every figure as SVG and PNG; of a
// classifier, heatmaps of `heatmaps` held-out images of each fold (0: none); of a segmenter,
// overlays of the worst and the best images; and run/report.html. Prints the tables.
void report_kfold(const Experiment& experiment, std::int64_t heatmaps, const Compute& compute);

}  // namespace thorax::app
