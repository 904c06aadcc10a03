// From the results of folds to tables, figures and report sections: what kfold, compare and audit
// say of a classifier.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "apps/report/evaluation_figures.h"
#include "apps/report/report.h"
#include "apps/report/table.h"
#include "apps/training.h"
#include "engine/io/atomic_file.h"
#include "engine/stats/classifier_evaluation.h"

namespace thorax::app {

// Pooled over folds, intervals by 2000 resamples of the patients. Throws what evaluate_classifier
// throws.
// `classes` are the names of the labels 0 and 1.
ClassifierEvaluation evaluate_folds(const std::vector<FoldResult>& folds, std::uint64_t seed,
                                    const std::vector<std::string>& classes);

// The figure `name` of the images ("accuracy", "auc", ...) with its interval over resampled
// patients; NaN where there is none.
Interval image_figure(const ClassifierEvaluation& evaluation, const std::string& name);

// The study's Table 6: a row per fold, then mean and standard deviation, and over how many folds
// these are (a fold without one of the classes has no AUC); standard definitions, and
// beside them what the study calls accuracy and specificity (balanced accuracy and negative
// predictive value).
Table fold_figures_table(const ClassifierEvaluation& evaluation);

// Appends three rows to a table whose last columns are figures of folds: mean, standard deviation,
// and the number of folds in which the figure is defined, over which these two are.
void add_fold_means(Table& table, const std::vector<std::vector<double>>& columns);

// All pooled figures, of images and of patients, with their intervals and how these were made; or
// the few that people ask for first, by resampled patients.
Table pooled_figures_table(const ClassifierEvaluation& evaluation);
Table short_figures_table(const ClassifierEvaluation& evaluation);

// Youden's threshold of every fold, which its checkpoint carries and `predict` goes by.
Table threshold_table(const ClassifierEvaluation& evaluation, const std::vector<FoldResult>& folds);

// Labels and probabilities of each fold ("fold 1") / of all folds together.
std::vector<ScoredSet> fold_sets(const std::vector<FoldResult>& folds);
ScoredSet pooled_set(const std::string& name, const std::vector<FoldResult>& folds);

// Folds with the lowest and the highest value (balanced accuracy); several where they are equal.
// None when no two folds differ: then none is worse than another. NaN counts as no value.
struct ExtremeFolds {
  std::vector<std::size_t> worst, best;
};
ExtremeFolds worst_and_best(const std::vector<double>& values);
// "Worst fold (2)"; of several equal ones "Worst fold (1; as bad: 3)".
std::string extreme_title(const std::string& which, const std::vector<std::size_t>& folds);

// A figure drawn, saved beside the report as NAME.svg and NAME.png, and given back for it. One that
// gnuplot did not draw is said on stderr and in the report: tables do not depend on it.
Figure drawn_figure(const std::function<Figure()>& draw_it);
template <class Description>
Figure saved_figure(const std::filesystem::path& folder, const std::string& name,
                    const Description& description) {
  create_folders(folder);
  Figure figure = drawn_figure([&] { return draw(description); });
  if (figure.missing.empty()) save_figure(figure, folder / name);
  return figure;
}
// Before hours of training: says on stderr when the report at their end will have no figures.
void announce_missing_figures();
// A table saved beside the report as NAME.csv, NAME.json and NAME.txt, printed unless it is long,
// and given back for it.
enum class Print { yes, no };
Table saved_table(const std::filesystem::path& folder, const std::string& name, Table table,
                  Print print = Print::yes);

// A note where probabilities are means over several views of an image (--tta).
void note_views(Report& report, const TrainSettings& settings);

// Configuration and provenance of the run, folded away at the end of its report.
void add_provenance(Report& report, const std::filesystem::path& run);

}  // namespace thorax::app
