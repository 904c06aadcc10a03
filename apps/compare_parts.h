// The sections of a comparison that depend on the task.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "apps/experiment.h"
#include "apps/paired.h"
#include "apps/report/report.h"
#include "engine/stats/multiclass.h"
#include "engine/stats/multilabel.h"

namespace thorax::app {

// A network on a view: a row of the experiment with its results.
struct ComparedRow {
  const ExperimentRow* row;
  std::string model, view, name;
  std::vector<FoldResult> folds;
};

// Rows of one view or of one network.
std::vector<std::pair<NamedResults, NamedResults>> pairs_of(const std::vector<ComparedRow>& rows);

// What the note below the results says of data from several collections.
inline constexpr const char* kCollectionsNote =
    "Images of the classes come from different collections. What a network can learn from the "
    "collection instead of the disease is not in this table: thorax audit measures it.";

// Of three classes or more: the sections of tables, tests, curves and matrices, with their files in
// `out`; summary.json.
std::vector<MulticlassEvaluation> report_compared_classes(Report& report, const Experiment& e,
                                                          const std::vector<ComparedRow>& rows,
                                                          const std::filesystem::path& out);

// The same of several findings an image.
std::vector<MultilabelEvaluation> report_compared_findings(Report& report, const Experiment& e,
                                                           const std::vector<ComparedRow>& rows,
                                                           const std::filesystem::path& out);

}  // namespace thorax::app
