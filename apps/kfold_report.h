// What `kfold` writes when every fold is finished.
#pragma once

#include "apps/experiment.h"

namespace thorax::app {

// run/crossval/: summary.json, the tables as CSV, JSON and text, every figure as SVG and PNG; and
// run/report.html. Prints the tables.
void report_kfold(const Experiment& experiment);

}  // namespace thorax::app
