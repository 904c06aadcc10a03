// The study's Table 7 and what belongs beside it, from a finished comparison.
#pragma once

#include "apps/experiment.h"

namespace thorax::app {

// run/comparison/: table7, tests (paired), the share of heatmap energy in the lungs (of `heatmaps`
// held-out images per row and fold; 0: none), figures as CSV, JSON, text, SVG and PNG;
// summary.json; and run/report.html. Prints the tables.
void report_comparison(const Experiment& experiment, std::int64_t heatmaps, const Compute& compute);

}  // namespace thorax::app
