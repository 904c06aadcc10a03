// How good a classifier of three classes or more is: confusion matrix, one class against the rest,
// and means over the classes, with intervals by resampling patients.
//
// Predicted is the class of the largest probability, the first of equals. A value that is not
// defined is NaN (null in JSON); a mean over the classes is defined only when it is for each class.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "engine/stats/intervals.h"
#include "engine/train/metrics.h"

namespace thorax {

// One class against the rest.
struct ClassFigures {
  std::int64_t images = 0;  // of the class
  double sensitivity = kUndefined, specificity = kUndefined, ppv = kUndefined, f1 = kUndefined;
  double auc = kUndefined;  // of its probability
};

struct MulticlassReport {
  ConfusionMatrix confusion{1};
  std::vector<ClassFigures> classes;  // by label
  double accuracy = kUndefined;
  double balanced_accuracy = kUndefined;  // mean sensitivity
  double macro_f1 = kUndefined;
  double macro_auc = kUndefined;  // scikit-learn's roc_auc_score(multi_class="ovr")
};

// probabilities[i] has one number per class. Throws Error "[stats] ..." for sizes that do not fit,
// a label that is no class and a probability outside [0, 1].
MulticlassReport multiclass_report(std::span<const int> labels,
                                   std::span<const std::vector<double>> probabilities, int classes);
// The predicted class.
int largest(std::span<const double> probabilities);

// One held-out image; `fold` is the one in which it was held out.
struct MulticlassRow {
  std::string image, patient;
  int fold = 0;
  int label = 0;
  std::vector<double> probabilities;
};

// A figure of all folds together: of one class, or with `cls` -1 of all.
struct MulticlassFigure {
  std::string name;  // accuracy, balanced_accuracy, macro_f1, macro_auc; sensitivity, specificity,
                     // ppv, f1, auc
  int cls = -1;
  double value = kUndefined;
  Interval interval;  // by resampling patients
  int undefined = 0;  // resamples in which the value was undefined
};

struct MulticlassEvaluation {
  std::vector<std::string> classes;
  BootstrapOptions bootstrap;
  std::int64_t image_count = 0, patient_count = 0;
  std::vector<int> fold_numbers;        // rising
  std::vector<MulticlassReport> folds;  // in that order
  MulticlassReport all;                 // pooled: compares probabilities of different networks
  std::vector<MulticlassFigure> figures;
};

// Throws what multiclass_report throws, and without rows, for fewer than three classes, and for an
// image that is named twice. Deterministic, also in the order of the rows.
MulticlassEvaluation evaluate_multiclass(std::span<const MulticlassRow> rows,
                                         const std::vector<std::string>& classes,
                                         const BootstrapOptions& bootstrap = {});

// Two classifiers' macro AUC on the same samples. The interval of the difference and its standard
// error come from resampling `groups` (of the samples of each class by itself, so that no resample
// lacks one); z = difference / standard error and p, two-sided, by the normal distribution: pROC's
// roc.test(method = "bootstrap"). All NaN when a class is absent; z and p when the standard error
// is 0 (the same rankings).
struct MacroAucTest {
  double first = kUndefined, second = kUndefined, difference = kUndefined;  // first - second
  Interval interval;
  double standard_error = kUndefined, z = kUndefined, p = kUndefined;
};
// Throws what multiclass_report throws, and for a group with two labels.
MacroAucTest macro_auc_test(std::span<const int> labels, std::span<const std::vector<double>> first,
                            std::span<const std::vector<double>> second, int classes,
                            std::span<const int> groups, const BootstrapOptions& bootstrap = {});

nlohmann::json to_json(const MulticlassReport& report, const std::vector<std::string>& classes);
nlohmann::json to_json(const MulticlassEvaluation& evaluation);

}  // namespace thorax
