// Measures of classifiers and of segmentations, from counts.
//
// A value that is not defined (a ratio with denominator 0) is NaN here, null in JSON and "-" in
// tables; it is never silently 0 or 1.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "engine/tensor/tensor.h"

namespace thorax {

// counts[actual][predicted] of C classes.
class ConfusionMatrix {
 public:
  explicit ConfusionMatrix(int classes);
  // Throws Error "[metrics] ..." for a class outside 0..classes-1.
  void add(int actual, int predicted, std::int64_t count = 1);
  void add(const ConfusionMatrix& other);

  int classes() const { return classes_; }
  std::int64_t count(int actual, int predicted) const;
  std::int64_t total() const;
  double accuracy() const;
  // Share of the samples of a class that were recognised.
  double recall(int cls) const;
  double precision(int cls) const;
  double f1(int cls) const;
  // Mean recall over the classes that have samples, as scikit-learn's balanced_accuracy_score.
  double balanced_accuracy() const;

 private:
  int classes_;
  std::vector<std::int64_t> counts_;
};

// Counts of a yes/no decision; "positive" is class 1.
struct BinaryCounts {
  std::int64_t tp = 0, fn = 0, fp = 0, tn = 0;

  std::int64_t total() const { return tp + fn + fp + tn; }
  double accuracy() const;           // (TP + TN) / all
  double sensitivity() const;        // TP / (TP + FN), recall
  double specificity() const;        // TN / (TN + FP)
  double ppv() const;                // TP / (TP + FP), precision
  double npv() const;                // TN / (TN + FN)
  double f1() const;                 // 2 TP / (2 TP + FP + FN)
  double balanced_accuracy() const;  // mean of sensitivity and specificity
  // What the reference study's tables call accuracy and specificity: their printed figures follow
  // from its confusion counts only with these (balanced accuracy, negative predictive value).
  double study_accuracy() const { return balanced_accuracy(); }
  double study_specificity() const { return npv(); }
  BinaryCounts& operator+=(const BinaryCounts& other);
  friend bool operator==(const BinaryCounts&, const BinaryCounts&) = default;
};

// Predicted positive when score >= threshold. Labels are 0 or 1; a score that is NaN is an Error.
BinaryCounts binary_counts(std::span<const int> labels, std::span<const double> scores,
                           double threshold = 0.5);

// The samples of one score. Labels and scores as binary_counts takes them.
struct ScoreGroup {
  double score;
  std::int64_t positives, negatives;
};
// One per distinct score, by falling score: what every curve and rank statistic is made from.
std::vector<ScoreGroup> score_groups(std::span<const int> labels, std::span<const double> scores);

// Area under the ROC curve: the probability that a positive scores above a negative, ties counting
// half; exact (Mann-Whitney on ranks, whole numbers). NaN when one of the classes is absent.
double roc_auc(std::span<const int> labels, std::span<const double> scores);

struct RocPoint {
  double false_positive_rate, true_positive_rate, threshold;
};
// The curve's corners, from (0, 0) to (1, 1), one per distinct score. Empty when a class is absent.
std::vector<RocPoint> roc_curve(std::span<const int> labels, std::span<const double> scores);

struct BinaryReport {
  BinaryCounts counts;
  double auc = 0;
  double threshold = 0.5;
};
BinaryReport binary_report(std::span<const int> labels, std::span<const double> scores,
                           double threshold = 0.5);

// Pixels of a predicted and a true mask.
struct OverlapCounts {
  std::int64_t both = 0, only_predicted = 0, only_true = 0, neither = 0;

  double dice() const;  // 2 both / (predicted + true); 1 when both masks are empty
  double iou() const;   // both / (predicted or true); 1 when both masks are empty
  double pixel_accuracy() const;
  OverlapCounts& operator+=(const OverlapCounts& other);
};
// Counts for two tensors of equal shape (f32, f64 or u8); a pixel is set when its value exceeds the
// threshold (logits: 0, probabilities: 0.5).
OverlapCounts overlap(const Tensor& prediction, const Tensor& truth,
                      double prediction_threshold = 0.5, double truth_threshold = 0.5);

// Every measure by name, undefined ones as null; "study" holds the study's two beside.
nlohmann::json to_json(const BinaryReport& report);
nlohmann::json to_json(const ConfusionMatrix& matrix, const std::vector<std::string>& names = {});
nlohmann::json to_json(const OverlapCounts& counts);

// Mean and sample standard deviation of the defined values among `values`.
struct MeanDeviation {
  double mean, deviation;
  int count;  // values that are defined
};
MeanDeviation spread(std::span<const double> values);

// Per-fold table in percent: standard definitions, the study's beside them, and rows of means,
// standard deviations and the number of folds that these are over: a fold without one of the
// classes has no AUC.
std::string fold_table(std::span<const BinaryReport> folds);
nlohmann::json fold_summary(std::span<const BinaryReport> folds);
// The matrix with row and column names and totals.
std::string confusion_table(const ConfusionMatrix& matrix, const std::vector<std::string>& names);
std::string confusion_table(const BinaryCounts& counts, const std::string& positive = "positive",
                            const std::string& negative = "negative");

}  // namespace thorax
