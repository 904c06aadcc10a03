// Whether predicted probabilities mean what they say.
//
// Labels are 0 or 1, probabilities in [0, 1]; anything else is an Error "[stats] ...". Values that
// are not defined (no samples) are NaN.
#pragma once

#include <span>
#include <vector>

#include "engine/stats/numbers.h"

namespace thorax {

// Mean squared difference of probability and label.
double brier_score(std::span<const int> labels, std::span<const double> probabilities);
// Mean of -log(probability of the true class), natural logarithm; probabilities are first moved
// into [2^-52, 1 - 2^-52], as scikit-learn's log_loss does.
double log_loss(std::span<const int> labels, std::span<const double> probabilities);

// The samples whose probability lies in (low, high], the first bin with its lower end.
struct ReliabilityBin {
  double low, high;
  int count;
  double predicted;  // mean probability; NaN in an empty bin
  double observed;   // share of positives; NaN in an empty bin
};
enum class Binning { equal_width, equal_count };
// Bins of equal width over [0, 1], or with borders at the quantiles of the probabilities (linear
// interpolation; ties may leave bins empty): scikit-learn's calibration_curve with the strategies
// "uniform" and "quantile", empty bins kept. Without samples equal_count has no borders: no bins.
std::vector<ReliabilityBin> reliability_bins(std::span<const int> labels,
                                             std::span<const double> probabilities, int bins = 10,
                                             Binning binning = Binning::equal_width);

// Mean over samples of |predicted - observed| of their bin (expected calibration error) and the
// largest one. Of the probability of class 1 against the share of class 1, not of "confidence"
// max(p, 1 - p) against accuracy as for several classes (Guo et al. 2017). NaN without samples.
struct CalibrationError {
  double expected, largest;
};
CalibrationError calibration_error(std::span<const ReliabilityBin> bins);

// Logistic regression of the label on the logit of the probability (Cox 1958): slope 1 and
// intercept 0 are perfect, a slope below 1 means probabilities that are too extreme. in_the_large
// is the intercept when the slope is held at 1: above 0, probabilities are too low on the whole.
// Standard errors from the information matrix, intervals estimate +- z errors; they take samples
// for independent. Probabilities are moved as in log_loss. NaN where the samples determine no
// finite number: one class only, one probability only (slope), classes that a threshold separates,
// and a standard error above 1000 (probabilities of 0 and 1, all of them right or nearly so).
struct CalibrationFit {
  double slope = kUndefined, intercept = kUndefined, in_the_large = kUndefined;
  double slope_error = kUndefined, intercept_error = kUndefined, in_the_large_error = kUndefined;
};
CalibrationFit calibration_fit(std::span<const int> labels, std::span<const double> probabilities);
Interval wald_interval(double estimate, double standard_error, double level = 0.95);

}  // namespace thorax
