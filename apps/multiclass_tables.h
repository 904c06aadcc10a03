// Tables and figures of a classifier of three classes or more: what kfold, compare and audit share.
#pragma once

#include <string>
#include <vector>

#include "apps/report/evaluation_figures.h"
#include "apps/report/table.h"
#include "apps/training.h"
#include "engine/stats/multiclass.h"
#include "engine/stats/multiclass_calibration.h"

namespace thorax::app {

// Pooled over folds, intervals by 2000 resamples of the patients.
MulticlassEvaluation evaluate_multiclass_folds(const std::vector<FoldResult>& folds,
                                               std::uint64_t seed,
                                               const std::vector<std::string>& classes);

// "balanced_accuracy" as people read it: "balanced accuracy".
std::string measure_name(const std::string& name);

// A figure of all classes ("accuracy", "macro_auc", ...) or of class `cls`, with its interval over
// resampled patients. Throws Error "[stats] ..." for a name that there is not.
Interval multiclass_figure(const MulticlassEvaluation& evaluation, const std::string& name,
                           int cls = -1);

// A row per fold, then means, deviations, and over how many folds these are.
Table multiclass_folds_table(const MulticlassEvaluation& evaluation);
// All folds together: a row per class, each against the rest; what is of all classes.
Table multiclass_classes_table(const MulticlassEvaluation& evaluation);
Table multiclass_overall_table(const MulticlassEvaluation& evaluation);

// Of all folds together.
MulticlassCalibration calibration_of(const std::vector<FoldResult>& folds, std::size_t classes);
Table calibration_table(const MulticlassCalibration& calibration,
                        const std::vector<std::string>& classes);
// Reliability of the predicted class: the share that is right against its probability.
Plot top_label_plot(const std::string& title, const std::vector<FoldResult>& folds);

MatrixPlot confusion_plot(const std::string& title, const ConfusionMatrix& matrix,
                          const std::vector<std::string>& classes);
// One class against the rest, all folds together; of all classes.
ScoredSet class_set(const std::string& name, const std::vector<FoldResult>& folds, std::size_t cls);
std::vector<ScoredSet> one_against_rest(const std::vector<FoldResult>& folds,
                                        const std::vector<std::string>& classes);

}  // namespace thorax::app
