#include "engine/train/metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "engine/tensor/error.h"

namespace thorax {
namespace {

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();

double ratio(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? kUndefined : static_cast<double>(part) / static_cast<double>(whole);
}

void check_scores(std::span<const int> labels, std::span<const double> scores) {
  THORAX_CHECK(labels.size() == scores.size(), "[metrics] {} labels and {} scores", labels.size(),
               scores.size());
  for (std::size_t i = 0; i < labels.size(); ++i) {
    THORAX_CHECK(labels[i] == 0 || labels[i] == 1, "[metrics] label {} of sample {} is not 0 or 1",
                 labels[i], i);
    THORAX_CHECK(!std::isnan(scores[i]), "[metrics] score of sample {} is not a number", i);
  }
}

}  // namespace

ConfusionMatrix::ConfusionMatrix(int classes) : classes_(classes) {
  THORAX_CHECK(classes >= 1 && classes <= 10000, "[metrics] {} classes", classes);
  counts_.resize(static_cast<std::size_t>(classes) * static_cast<std::size_t>(classes));
}

void ConfusionMatrix::add(int actual, int predicted, std::int64_t number) {
  THORAX_CHECK(actual >= 0 && actual < classes_ && predicted >= 0 && predicted < classes_,
               "[metrics] class {} taken for {}: there are {}", actual, predicted, classes_);
  counts_[static_cast<std::size_t>(actual * classes_ + predicted)] += number;
}

void ConfusionMatrix::add(const ConfusionMatrix& other) {
  THORAX_CHECK(other.classes_ == classes_, "[metrics] {} and {} classes", classes_, other.classes_);
  for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
}

std::int64_t ConfusionMatrix::count(int actual, int predicted) const {
  THORAX_CHECK(actual >= 0 && actual < classes_ && predicted >= 0 && predicted < classes_,
               "[metrics] class {} taken for {}: there are {}", actual, predicted, classes_);
  return counts_[static_cast<std::size_t>(actual * classes_ + predicted)];
}

std::int64_t ConfusionMatrix::total() const {
  return std::accumulate(counts_.begin(), counts_.end(), std::int64_t{0});
}

double ConfusionMatrix::accuracy() const {
  std::int64_t right = 0;
  for (int i = 0; i < classes_; ++i) right += count(i, i);
  return ratio(right, total());
}

double ConfusionMatrix::recall(int cls) const {
  std::int64_t actual = 0;
  for (int i = 0; i < classes_; ++i) actual += count(cls, i);
  return ratio(count(cls, cls), actual);
}

double ConfusionMatrix::precision(int cls) const {
  std::int64_t predicted = 0;
  for (int i = 0; i < classes_; ++i) predicted += count(i, cls);
  return ratio(count(cls, cls), predicted);
}

double ConfusionMatrix::f1(int cls) const {
  std::int64_t either = 0;
  for (int i = 0; i < classes_; ++i) either += count(cls, i) + count(i, cls);
  return ratio(2 * count(cls, cls), either);
}

double ConfusionMatrix::balanced_accuracy() const {
  double sum = 0;
  int defined = 0;
  for (int i = 0; i < classes_; ++i) {
    if (const double value = recall(i); !std::isnan(value)) {
      sum += value;
      ++defined;
    }
  }
  return defined == 0 ? kUndefined : sum / defined;
}

double BinaryCounts::accuracy() const {
  return ratio(tp + tn, total());
}
double BinaryCounts::sensitivity() const {
  return ratio(tp, tp + fn);
}
double BinaryCounts::specificity() const {
  return ratio(tn, tn + fp);
}
double BinaryCounts::ppv() const {
  return ratio(tp, tp + fp);
}
double BinaryCounts::npv() const {
  return ratio(tn, tn + fn);
}
double BinaryCounts::f1() const {
  return ratio(2 * tp, 2 * tp + fp + fn);
}
double BinaryCounts::balanced_accuracy() const {
  return (sensitivity() + specificity()) / 2;
}

BinaryCounts& BinaryCounts::operator+=(const BinaryCounts& other) {
  tp += other.tp;
  fn += other.fn;
  fp += other.fp;
  tn += other.tn;
  return *this;
}

BinaryCounts binary_counts(std::span<const int> labels, std::span<const double> scores,
                           double threshold) {
  check_scores(labels, scores);
  BinaryCounts counts;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const bool positive = scores[i] >= threshold;
    ++(labels[i] == 1 ? (positive ? counts.tp : counts.fn) : (positive ? counts.fp : counts.tn));
  }
  return counts;
}

std::vector<ScoreGroup> score_groups(std::span<const int> labels, std::span<const double> scores) {
  check_scores(labels, scores);
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
  std::vector<ScoreGroup> groups;
  for (const std::size_t i : order) {
    if (groups.empty() || groups.back().score != scores[i]) groups.push_back({scores[i], 0, 0});
    ++(labels[i] == 1 ? groups.back().positives : groups.back().negatives);
  }
  return groups;
}

double roc_auc(std::span<const int> labels, std::span<const double> scores) {
  std::int64_t positives = 0, negatives = 0, twice_wins = 0;
  for (const ScoreGroup& group : score_groups(labels, scores)) {
    // Positives above these negatives, and level with them.
    twice_wins += group.negatives * (2 * positives + group.positives);
    positives += group.positives;
    negatives += group.negatives;
  }
  return ratio(twice_wins, 2 * positives * negatives);
}

std::vector<RocPoint> roc_curve(std::span<const int> labels, std::span<const double> scores) {
  const std::vector<ScoreGroup> groups = score_groups(labels, scores);
  const std::int64_t positives = std::count(labels.begin(), labels.end(), 1);
  const std::int64_t negatives = static_cast<std::int64_t>(labels.size()) - positives;
  std::vector<RocPoint> curve;
  if (positives == 0 || negatives == 0) return curve;
  curve.push_back({0, 0, std::numeric_limits<double>::infinity()});
  std::int64_t tp = 0, fp = 0;
  for (const ScoreGroup& group : groups) {
    tp += group.positives;
    fp += group.negatives;
    curve.push_back({ratio(fp, negatives), ratio(tp, positives), group.score});
  }
  return curve;
}

BinaryReport binary_report(std::span<const int> labels, std::span<const double> scores,
                           double threshold) {
  return {binary_counts(labels, scores, threshold), roc_auc(labels, scores), threshold};
}

double OverlapCounts::dice() const {
  const std::int64_t sum = 2 * both + only_predicted + only_true;
  return sum == 0 ? 1 : ratio(2 * both, sum);
}

double OverlapCounts::iou() const {
  const std::int64_t sum = both + only_predicted + only_true;
  return sum == 0 ? 1 : ratio(both, sum);
}

double OverlapCounts::pixel_accuracy() const {
  return ratio(both + neither, both + only_predicted + only_true + neither);
}

OverlapCounts& OverlapCounts::operator+=(const OverlapCounts& other) {
  both += other.both;
  only_predicted += other.only_predicted;
  only_true += other.only_true;
  neither += other.neither;
  return *this;
}

OverlapCounts overlap(const Tensor& prediction, const Tensor& truth, double prediction_threshold,
                      double truth_threshold) {
  THORAX_CHECK(prediction.shape() == truth.shape(), "[metrics] prediction {} and mask {}",
               prediction.shape(), truth.shape());
  const Tensor p = prediction.to_contiguous().to(DType::f32);
  const Tensor t = truth.to_contiguous().to(DType::f32);
  OverlapCounts counts;
  for (std::int64_t i = 0; i < p.numel(); ++i) {
    const float value = p.data<float>()[i];
    THORAX_CHECK(!std::isnan(value), "[metrics] pixel {} of the prediction is not a number", i);
    const bool predicted = static_cast<double>(value) > prediction_threshold;
    const bool actual = static_cast<double>(t.data<float>()[i]) > truth_threshold;
    ++(predicted ? (actual ? counts.both : counts.only_predicted)
                 : (actual ? counts.only_true : counts.neither));
  }
  return counts;
}

MeanDeviation spread(std::span<const double> values) {
  double sum = 0;
  int count = 0;
  for (const double value : values) {
    if (std::isnan(value)) continue;
    sum += value;
    ++count;
  }
  if (count == 0) return {kUndefined, kUndefined, 0};
  const double mean = sum / count;
  double squares = 0;
  for (const double value : values)
    if (!std::isnan(value)) squares += (value - mean) * (value - mean);
  return {mean, count < 2 ? kUndefined : std::sqrt(squares / (count - 1)), count};
}

}  // namespace thorax
