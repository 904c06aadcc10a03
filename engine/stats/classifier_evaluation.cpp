#include "engine/stats/classifier_evaluation.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>

#include "engine/stats/paired_tests.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

// What the bootstrap looks at, in the order of Resampler's values.
constexpr std::array kResampled = {"accuracy",
                                   "sensitivity",
                                   "specificity",
                                   "ppv",
                                   "npv",
                                   "balanced_accuracy",
                                   "f1",
                                   "auc",
                                   "average_precision",
                                   "sensitivity_at_specificity_90",
                                   "sensitivity_at_specificity_95",
                                   "brier",
                                   "log_loss",
                                   "calibration_error"};

double ratio(double part, double whole) {
  return whole == 0 ? kUndefined : part / whole;
}

struct Samples {
  std::vector<int> labels;
  std::vector<double> probabilities;
};

// Sorts the samples once; each resample then costs one pass over them.
class Resampler {
 public:
  Resampler(const Samples& samples, const std::vector<ReliabilityBin>& bins, double threshold)
      : samples_(samples),
        threshold_(threshold),
        bins_(bins.size()),
        order_(samples.labels.size()) {
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    const std::vector<double>& p = samples.probabilities;
    std::stable_sort(order_.begin(), order_.end(),
                     [&](std::size_t a, std::size_t b) { return p[a] > p[b]; });
    for (std::size_t i = 0; i < p.size(); ++i) {
      std::size_t bin = 0;
      while (bin + 1 < bins.size() && p[i] > bins[bin].high) ++bin;
      bin_of_.push_back(bin);
      const std::vector<int> label{samples.labels[i]};
      log_loss_.push_back(log_loss(label, std::vector{p[i]}));
    }
  }

  void operator()(Copies copies, std::span<double> values) const {
    double n = 0, positives = 0, brier = 0, loss = 0;
    std::vector<double> excess(bins_, 0);  // sum of probability - label
    for (std::size_t i = 0; i < copies.size(); ++i) {
      if (copies[i] == 0) continue;
      const double c = copies[i], apart = samples_.probabilities[i] - samples_.labels[i];
      n += c;
      positives += c * samples_.labels[i];
      brier += c * apart * apart;
      loss += c * log_loss_[i];
      excess[bin_of_[i]] += c * apart;
    }
    double error = 0;
    for (const double e : excess) error += std::abs(e);

    // Counts are whole numbers far below 2^53: exact, in any order.
    const double negatives = n - positives;
    double tp = 0, fp = 0, called_tp = 0, called_fp = 0, twice_wins = 0, precision = 0;
    double at_90 = 0, at_95 = 0;
    for (std::size_t k = 0; k < order_.size();) {
      const double score = samples_.probabilities[order_[k]];
      double here = 0, here_negative = 0;
      for (; k < order_.size() && samples_.probabilities[order_[k]] == score; ++k) {
        const std::size_t i = order_[k];
        (samples_.labels[i] == 1 ? here : here_negative) += copies[i];
      }
      if (here + here_negative == 0) continue;  // not drawn
      twice_wins += here_negative * (2 * tp + here);
      tp += here;
      fp += here_negative;
      precision += here * (tp / (tp + fp));
      if (score >= threshold_) {
        called_tp = tp;
        called_fp = fp;
      }
      const double specificity = (negatives - fp) / negatives;
      if (specificity >= 0.90) at_90 = tp;
      if (specificity >= 0.95) at_95 = tp;
    }
    const bool both = positives > 0 && negatives > 0;
    const double fn = positives - called_tp, tn = negatives - called_fp;
    const double sensitivity = ratio(called_tp, positives), specificity = ratio(tn, negatives);
    const std::array<double, kResampled.size()> all = {
        ratio(called_tp + tn, n),
        sensitivity,
        specificity,
        ratio(called_tp, called_tp + called_fp),
        ratio(tn, tn + fn),
        (sensitivity + specificity) / 2,
        ratio(2 * called_tp, 2 * called_tp + called_fp + fn),
        ratio(twice_wins, 2 * positives * negatives),
        ratio(precision, positives),
        both ? at_90 / positives : kUndefined,
        both ? at_95 / positives : kUndefined,
        ratio(brier, n),
        ratio(loss, n),
        ratio(error, n)};
    std::copy(all.begin(), all.end(), values.begin());
  }

 private:
  const Samples& samples_;
  double threshold_;
  std::size_t bins_;
  std::vector<std::size_t> order_, bin_of_;
  std::vector<double> log_loss_;
};

// The proportions and the area with the intervals that take samples for independent.
std::vector<Figure> independent_figures(const Samples& samples, const BinaryCounts& c,
                                        double level) {
  std::vector<Figure> figures;
  const auto proportion = [&](const char* name, std::int64_t part, std::int64_t whole) {
    figures.push_back({name, ratio(static_cast<double>(part), static_cast<double>(whole)),
                       wilson_interval(part, whole, level), "wilson", whole, 0});
  };
  proportion("accuracy", c.tp + c.tn, c.total());
  proportion("sensitivity", c.tp, c.tp + c.fn);
  proportion("specificity", c.tn, c.tn + c.fp);
  proportion("ppv", c.tp, c.tp + c.fp);
  proportion("npv", c.tn, c.tn + c.fn);
  const AucEstimate auc = delong_auc(samples.labels, samples.probabilities, level);
  figures.push_back({"auc", auc.auc, auc.interval, "delong", c.total(), 0});
  return figures;
}

// `groups` numbers the patients of the samples.
Judgement judge(const Samples& s, const std::vector<int>& groups, const EvaluationOptions& o) {
  Judgement result;
  const double level = o.bootstrap.level;
  result.report = binary_report(s.labels, s.probabilities, o.threshold);
  result.calibration = calibration_fit(s.labels, s.probabilities);
  result.equal_width_bins = reliability_bins(s.labels, s.probabilities, o.bins);
  result.equal_count_bins =
      reliability_bins(s.labels, s.probabilities, o.bins, Binning::equal_count);
  result.calibration_error = calibration_error(result.equal_width_bins);
  result.roc = roc_curve(s.labels, s.probabilities);
  result.precision_recall = precision_recall_curve(s.labels, s.probabilities);
  result.youden = youden_point(s.labels, s.probabilities);

  result.figures = independent_figures(s, result.report.counts, level);
  const Resampler resampler(s, result.equal_width_bins, o.threshold);
  std::array<double, kResampled.size()> values;
  resampler(std::vector<int>(s.labels.size(), 1), values);
  const auto intervals =
      group_bootstrap(groups, o.bootstrap, values.size(), std::cref(resampler),
                      o.stratified ? std::span<const int>(s.labels) : std::span<const int>());
  const auto patients = static_cast<std::int64_t>(std::set(groups.begin(), groups.end()).size());
  for (std::size_t k = 0; k < values.size(); ++k)
    result.figures.push_back({kResampled[k], values[k], intervals[k].interval, "bootstrap",
                              patients, intervals[k].undefined});
  const auto wald = [&](const char* name, double value, double error) {
    result.figures.push_back({name, value, wald_interval(value, error, level), "wald",
                              static_cast<std::int64_t>(s.labels.size()), 0});
  };
  const CalibrationFit& fit = result.calibration;
  wald("calibration_slope", fit.slope, fit.slope_error);
  wald("calibration_intercept", fit.intercept, fit.intercept_error);
  wald("calibration_in_the_large", fit.in_the_large, fit.in_the_large_error);
  return result;
}

// In the order of the images' names, so that sums round alike whatever order they came in.
std::vector<const EvaluationRow*> checked(std::span<const EvaluationRow> rows) {
  THORAX_CHECK(!rows.empty(), "[stats] evaluation of no images");
  std::vector<const EvaluationRow*> sorted;
  for (const EvaluationRow& row : rows) {
    THORAX_CHECK(!row.image.empty() && !row.patient.empty(),
                 "[stats] image '{}' of patient '{}': a name is missing", row.image, row.patient);
    THORAX_CHECK(row.label == 0 || row.label == 1, "[stats] image {}: label {} is not 0 or 1",
                 row.image, row.label);
    THORAX_CHECK(row.probability >= 0 && row.probability <= 1,
                 "[stats] image {}: probability {} is not in [0, 1]", row.image, row.probability);
    sorted.push_back(&row);
  }
  std::sort(sorted.begin(), sorted.end(), [](auto* a, auto* b) { return a->image < b->image; });
  for (std::size_t i = 1; i < sorted.size(); ++i)
    THORAX_CHECK(sorted[i]->image != sorted[i - 1]->image, "[stats] image {} is there twice",
                 sorted[i]->image);
  return sorted;
}

}  // namespace

ClassifierEvaluation evaluate_classifier(std::span<const EvaluationRow> rows,
                                         const EvaluationOptions& options) {
  ClassifierEvaluation result;
  result.options = options;
  Samples images;
  std::vector<std::string> patients;
  std::map<int, Samples> folds;
  std::map<std::string, std::set<int>> folds_of;
  for (const EvaluationRow* row : checked(rows)) {
    for (Samples* samples : {&images, &folds[row->fold]}) {
      samples->labels.push_back(row->label);
      samples->probabilities.push_back(row->probability);
    }
    patients.push_back(row->patient);
    folds_of[row->patient].insert(row->fold);
  }
  result.image_count = static_cast<std::int64_t>(images.labels.size());
  result.patient_count = static_cast<std::int64_t>(folds_of.size());
  result.patients_in_several_folds = std::count_if(
      folds_of.begin(), folds_of.end(), [](const auto& entry) { return entry.second.size() > 1; });
  for (const auto& [number, samples] : folds) {
    result.fold_numbers.push_back(number);
    result.folds.push_back(binary_report(samples.labels, samples.probabilities, options.threshold));
    result.fold_figures.push_back(
        independent_figures(samples, result.folds.back().counts, options.bootstrap.level));
  }
  result.conflicts = label_conflicts(patients, images.labels);
  THORAX_CHECK(
      !options.stratified || result.conflicts.empty(),
      "[stats] the bootstrap cannot be stratified: {} patients, {} first, have images with "
      "different labels",
      result.conflicts.size(), result.conflicts.front());
  result.images = judge(images, group_numbers(patients), options);
  if (result.conflicts.empty()) {
    Samples scores;
    for (const PatientScore& patient :
         patient_scores(patients, images.labels, images.probabilities, options.patient_rule)) {
      scores.labels.push_back(patient.label);
      scores.probabilities.push_back(patient.score);
    }
    std::vector<int> each(scores.labels.size());
    std::iota(each.begin(), each.end(), 0);
    result.patients = judge(scores, each, options);
  }
  return result;
}

}  // namespace thorax
