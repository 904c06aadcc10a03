// Tables and figures of a classifier of several findings an image: what kfold, compare and audit
// share. Images whose label of a finding is not known are in none of that finding's figures.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "apps/report/evaluation_figures.h"
#include "apps/report/table.h"
#include "apps/training.h"
#include "engine/stats/calibration.h"
#include "engine/stats/multilabel.h"

namespace thorax::app {

// Pooled over folds, intervals by 2000 resamples of the patients.
MultilabelEvaluation evaluate_multilabel_folds(const std::vector<FoldResult>& folds,
                                               std::uint64_t seed,
                                               const std::vector<std::string>& findings);

// A figure ("auc", "f1", ...) of a finding, or of MultilabelFigure::kMacro or kMicro, with its
// interval over resampled patients. Throws Error "[stats] ..." for a name that there is not.
Interval multilabel_figure(const MultilabelEvaluation& evaluation, const std::string& name,
                           int finding);

// A row per fold, then means, deviations, and over how many folds these are.
Table multilabel_folds_table(const MultilabelEvaluation& evaluation);

// Known labels and probabilities of one finding, all folds together.
ScoredSet finding_set(const std::string& name, const std::vector<FoldResult>& folds,
                      std::size_t finding);

// Whether the probabilities of a finding mean what they say (engine/stats/calibration.h), of its
// known images, all folds together.
struct FindingCalibration {
  CalibrationError error;  // over 10 bins of equal width
  double brier = kUndefined, log_loss = kUndefined;
  CalibrationFit fit;
};
std::vector<FindingCalibration> finding_calibrations(const std::vector<FoldResult>& folds,
                                                     std::size_t findings);
// A row per finding and the macro mean; the same for summary.json.
Table finding_calibration_table(const std::vector<FindingCalibration>& calibrations,
                                const std::vector<std::string>& findings);
nlohmann::json to_json(const std::vector<FindingCalibration>& calibrations,
                       const std::vector<std::string>& findings);

}  // namespace thorax::app
