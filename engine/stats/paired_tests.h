// Is one classifier better than another on the same images? And how sure is one area under the
// curve? All of these take images for independent; where patients have several, test on one score
// per patient (patients.h) or quote the bootstrap over patients beside.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/stats/numbers.h"

namespace thorax {

// McNemar's test on the samples that just one of two classifiers gets right: their numbers. Values
// as statsmodels' mcnemar gives them, NaN (there 1 or infinity) when no sample is told differently.
struct McNemar {
  std::int64_t only_first = 0, only_second = 0;
  double exact_p = kUndefined;       // binomial, two-sided, at most 1
  double chi_square = kUndefined;    // (|a - b| - 1)^2 / (a + b), continuity corrected
  double chi_square_p = kUndefined;  // fit for a + b of 25 and more
};
McNemar mcnemar(std::int64_t only_first, std::int64_t only_second);
// From labels and decisions 0 / 1. Throws "[stats] ..." for other values and sizes that differ.
McNemar mcnemar(std::span<const int> labels, std::span<const int> first,
                std::span<const int> second);

// Area under the ROC curve with the variance of DeLong, DeLong & Clarke-Pearson (1988), by the
// midranks of Sun & Xu (2014), O(n log n). NaN: the area when a class is absent, the variance when
// one has fewer than 2 samples. The interval is area +- z errors within [0, 1]; at an area of 0 or
// 1 the variance is 0 and the interval a point: it says nothing then.
struct AucEstimate {
  double auc = kUndefined, variance = kUndefined;
  Interval interval;
};
AucEstimate delong_auc(std::span<const int> labels, std::span<const double> scores,
                       double level = 0.95);

// Two classifiers' areas on the same samples. z and p are NaN when the variance of the difference
// is 0 (the same ranking, or both perfect): there is nothing to test then.
struct DelongTest {
  AucEstimate first, second;
  double covariance = kUndefined;
  double difference = kUndefined;         // first - second
  double variance = kUndefined;           // of the difference
  Interval interval;                      // of the difference
  double z = kUndefined, p = kUndefined;  // two-sided
};
DelongTest delong_test(std::span<const int> labels, std::span<const double> first,
                       std::span<const double> second, double level = 0.95);

// Holm's (1979) adjusted p-values, in the order given: compare them with the level of the whole
// family. NaN stays NaN and does not count as a test. Throws "[stats] ..." outside [0, 1].
std::vector<double> holm(std::span<const double> p_values);

}  // namespace thorax
