// Everything that a report says of a yes/no classifier, from its predictions on held-out images.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/stats/calibration.h"
#include "engine/stats/curves.h"
#include "engine/stats/intervals.h"
#include "engine/stats/patients.h"
#include "engine/train/metrics.h"

namespace thorax {

// One held-out image; `fold` is the one in which it was held out.
struct EvaluationRow {
  std::string image, patient;
  int fold = 0;
  int label = 0;
  double probability = 0;  // of class 1
};

struct EvaluationOptions {
  std::vector<std::string> classes;  // names of the labels 0 and 1; may be empty
  double threshold = 0.5;
  BootstrapOptions bootstrap;  // its level is that of every interval
  bool stratified = false;     // the bootstrap keeps the number of patients of each class
  PatientRule patient_rule = PatientRule::mean;
  int bins = 10;  // of the reliability curve and the expected calibration error
};

// A number with its interval, both NaN where undefined.
struct Figure {
  std::string name;  // "auc"
  double value = kUndefined;
  Interval interval;
  std::string method;  // of the interval: wilson, bootstrap, delong, wald
  std::int64_t n =
      0;              // what it rests on: trials (wilson), patients drawn (bootstrap), else samples
  int undefined = 0;  // bootstrap: resamples in which the value was undefined
};

// Of images, or of patients with one score each.
struct Judgement {
  BinaryReport report;
  // accuracy, sensitivity, specificity, ppv, npv: wilson and bootstrap; auc: delong and bootstrap;
  // balanced_accuracy, f1, average_precision, sensitivity_at_specificity_90 and _95, brier,
  // log_loss, calibration_error: bootstrap; calibration_slope, calibration_intercept,
  // calibration_in_the_large: wald. Only the bootstrap knows that images of a patient are alike.
  std::vector<Figure> figures;
  CalibrationFit calibration;
  CalibrationError calibration_error{kUndefined, kUndefined};
  std::vector<ReliabilityBin> equal_width_bins, equal_count_bins;
  std::vector<RocPoint> roc;
  std::vector<PrecisionRecallPoint> precision_recall;
  OperatingPoint youden{kUndefined, kUndefined, kUndefined};
};

struct ClassifierEvaluation {
  EvaluationOptions options;
  std::int64_t image_count = 0, patient_count = 0;
  std::vector<int> fold_numbers;                  // rising
  std::vector<BinaryReport> folds;                // of images, in that order
  std::vector<std::vector<Figure>> fold_figures;  // wilson and delong
  // All folds together. The pooled area compares scores of different networks; the mean over folds
  // is in fold_summary(folds).
  Judgement images;
  std::optional<Judgement> patients;           // none when a patient's images have different labels
  std::vector<std::string> conflicts;          // those patients
  std::int64_t patients_in_several_folds = 0;  // above 0: folds by image, patients leak
};

// Throws Error "[stats] ..." without rows, for a label other than 0 and 1, a probability outside
// [0, 1], an image without name or patient or with one that came before, and with `stratified`
// patients whose images have different labels. Deterministic, also in the order of the rows.
ClassifierEvaluation evaluate_classifier(std::span<const EvaluationRow> rows,
                                         const EvaluationOptions& options = {});

nlohmann::json to_json(const ClassifierEvaluation& evaluation);
// All figures, named "images/auc", "patients/auc", "fold_0/auc".
std::vector<Figure> all_figures(const ClassifierEvaluation& evaluation);
// The same as a table: name,value,low,high,method,n; undefined numbers are empty fields.
std::string figures_csv(const ClassifierEvaluation& evaluation);

}  // namespace thorax
