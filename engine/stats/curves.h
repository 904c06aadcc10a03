// What a score could do at every threshold: precision-recall beside metrics.h's roc_curve, and the
// thresholds that people choose from them.
//
// Labels are 0 or 1, a score counts as positive when it reaches the threshold; anything else, or a
// score that is NaN, is an Error "[metrics] ...". A threshold chosen on the data that it is judged
// on flatters: report it as a description of the curve, not as the performance to expect.
#pragma once

#include <span>
#include <vector>

#include "engine/train/metrics.h"

namespace thorax {

struct PrecisionRecallPoint {
  double precision, recall, threshold;
};
// By rising threshold, one point per distinct score and (1, 0) with threshold infinity at the end:
// scikit-learn's precision_recall_curve. Empty when there is no positive.
std::vector<PrecisionRecallPoint> precision_recall_curve(std::span<const int> labels,
                                                         std::span<const double> scores);

// Sum of precision times gain in recall over the curve's steps, without interpolation:
// scikit-learn's average_precision_score, but NaN when there is no positive (there 0).
double average_precision(std::span<const int> labels, std::span<const double> scores);

// What one threshold gives. NaN throughout when a class is absent.
struct OperatingPoint {
  double threshold, sensitivity, specificity;
  // Youden's J
  double youden() const { return sensitivity + specificity - 1; }
};
// The score that is the threshold with the largest J; among equals the highest.
OperatingPoint youden_point(std::span<const int> labels, std::span<const double> scores);
// The point of largest sensitivity among those whose specificity is at least the one asked for, a
// share; the highest threshold among equals, infinity (nothing is positive) when no score serves.
OperatingPoint sensitivity_at(double specificity, std::span<const int> labels,
                              std::span<const double> scores);

}  // namespace thorax
