// How good a classifier of several findings an image is, of which each may be there, not there or
// not known: every finding by itself, macro (means over the findings) and micro (all known pairs of
// image and finding together), with intervals by resampling patients.
//
// A finding is called present where its probability reaches its threshold. What is not known is in
// no figure. A value that is not defined is NaN (null in JSON); a macro figure is defined only when
// it is for each finding.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "engine/stats/curves.h"
#include "engine/stats/intervals.h"
#include "engine/train/metrics.h"

namespace thorax {

struct FindingFigures {
  std::int64_t unknown = 0;  // images; the known ones are counts.total()
  BinaryCounts counts;       // scikit-learn's multilabel_confusion_matrix
  double sensitivity = kUndefined, specificity = kUndefined, ppv = kUndefined, f1 = kUndefined;
  double auc = kUndefined, average_precision = kUndefined;  // of all thresholds

  std::int64_t positive() const { return counts.tp + counts.fn; }
  std::int64_t negative() const { return counts.tn + counts.fp; }
};

struct MultilabelReport {
  std::vector<FindingFigures> findings;
  FindingFigures macro;  // means; its counts are not set
  FindingFigures micro;
};

// Of an image: labels[f] is 1, 0 or -1 (not known) and probabilities[f] a number in [0, 1] for each
// finding. `thresholds`: one for each finding, or none: 0.5. Throws Error "[stats] ..." for sizes
// that do not fit, other labels, and what is no probability.
MultilabelReport multilabel_report(std::span<const std::vector<std::int8_t>> labels,
                                   std::span<const std::vector<double>> probabilities,
                                   std::size_t findings, std::span<const double> thresholds = {});

// Labels 0 / 1 and probabilities of one finding's known images.
struct KnownScores {
  std::vector<int> labels;
  std::vector<double> scores;
};
KnownScores known_scores(std::span<const std::vector<std::int8_t>> labels,
                         std::span<const std::vector<double>> probabilities, std::size_t finding);

// One held-out image; `fold` is the one in which it was held out.
struct MultilabelRow {
  std::string image, patient;
  int fold = 0;
  std::vector<std::int8_t> labels;
  std::vector<double> probabilities;
};

// A figure of all folds together: of one finding, or macro or micro.
struct MultilabelFigure {
  std::string name;  // sensitivity, specificity, ppv, f1, auc, average_precision
  int finding = -1;  // or kMacro, kMicro
  double value = kUndefined;
  Interval interval;  // by resampling patients
  int undefined = 0;  // resamples in which the value was undefined

  static constexpr int kMacro = -1, kMicro = -2;
};

struct MultilabelEvaluation {
  std::vector<std::string> findings;
  BootstrapOptions bootstrap;
  std::int64_t image_count = 0, patient_count = 0;
  std::vector<int> fold_numbers;        // rising
  std::vector<MultilabelReport> folds;  // in that order, at 0.5
  MultilabelReport all;                 // pooled: compares probabilities of different networks
  std::vector<MultilabelFigure> figures;
};

// Throws what multilabel_report throws, and without rows or findings, and for an image that is
// named twice. Deterministic, also in the order of the rows.
MultilabelEvaluation evaluate_multilabel(std::span<const MultilabelRow> rows,
                                         const std::vector<std::string>& findings,
                                         const BootstrapOptions& bootstrap = {});

// Two classifiers' areas under the ROC curve on the same images. The interval of the difference and
// its standard error come from resampling `groups` (patients), all images of a group together; z =
// difference / standard error and p, two-sided, by the normal distribution: pROC's roc.test(method
// = "bootstrap"). NaN where a finding has no positive or no negative image; z and p when the
// standard error is 0 (the same rankings).
struct AucDifference {
  double first = kUndefined, second = kUndefined, difference = kUndefined;  // first - second
  Interval interval;
  double standard_error = kUndefined, z = kUndefined, p = kUndefined;
  int undefined = 0;  // resamples in which an area was undefined: left out
};
// Of each finding, by the images whose label of it is known, and last their macro mean. Throws what
// multilabel_report throws.
std::vector<AucDifference> finding_auc_tests(std::span<const std::vector<std::int8_t>> labels,
                                             std::span<const std::vector<double>> first,
                                             std::span<const std::vector<double>> second,
                                             std::size_t findings, std::span<const int> groups,
                                             const BootstrapOptions& bootstrap = {});

nlohmann::json to_json(const MultilabelReport& report, const std::vector<std::string>& findings);
nlohmann::json to_json(const MultilabelEvaluation& evaluation);

}  // namespace thorax
