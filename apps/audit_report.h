// What a finished audit says.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "apps/command.h"
#include "apps/experiment.h"

namespace thorax::app {

struct AuditOptions {
  std::vector<std::string> external;  // data sources that were not trained on
  std::int64_t heatmaps = 0;          // held-out images per fold whose heatmaps are measured
};

// run/audit/: controls, duplicates, heatmaps, statistics as CSV, JSON, text, SVG, PNG;
// verdict.json; and run/report.html. Prints the tables and the verdict.
void report_audit(const Experiment& experiment, const AuditOptions& options,
                  const Compute& compute);

}  // namespace thorax::app
