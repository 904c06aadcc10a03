#include "engine/stats/calibration.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/stats/logistic_newton.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

void check(std::span<const int> labels, std::span<const double> probabilities) {
  THORAX_CHECK(labels.size() == probabilities.size(), "[stats] {} labels and {} probabilities",
               labels.size(), probabilities.size());
  for (std::size_t i = 0; i < labels.size(); ++i) {
    THORAX_CHECK(labels[i] == 0 || labels[i] == 1, "[stats] label {} of sample {} is not 0 or 1",
                 labels[i], i);
    THORAX_CHECK(probabilities[i] >= 0 && probabilities[i] <= 1,
                 "[stats] probability {} of sample {} is not in [0, 1]", probabilities[i], i);
  }
}

double inside(double probability) {
  constexpr double edge = std::numeric_limits<double>::epsilon();
  return std::clamp(probability, edge, 1 - edge);
}

}  // namespace

double brier_score(std::span<const int> labels, std::span<const double> probabilities) {
  check(labels, probabilities);
  double sum = 0;
  for (std::size_t i = 0; i < labels.size(); ++i)
    sum += (probabilities[i] - labels[i]) * (probabilities[i] - labels[i]);
  return labels.empty() ? kUndefined : sum / static_cast<double>(labels.size());
}

double log_loss(std::span<const int> labels, std::span<const double> probabilities) {
  check(labels, probabilities);
  double sum = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const double p = inside(probabilities[i]);
    sum -= std::log(labels[i] == 1 ? p : 1 - p);
  }
  return labels.empty() ? kUndefined : sum / static_cast<double>(labels.size());
}

std::vector<ReliabilityBin> reliability_bins(std::span<const int> labels,
                                             std::span<const double> probabilities, int bins,
                                             Binning binning) {
  check(labels, probabilities);
  THORAX_CHECK(bins >= 1 && bins <= 10000, "[stats] {} reliability bins", bins);
  if (binning == Binning::equal_count && labels.empty()) return {};
  std::vector<double> sorted(probabilities.begin(), probabilities.end());
  std::sort(sorted.begin(), sorted.end());
  // The borders are rounded as NumPy's linspace and percentile round them: a probability that lies
  // on a border falls to the same side as there.
  const double width = 1.0 / bins;
  std::vector<double> borders;
  for (int b = 0; b <= bins; ++b) {
    const double share = b == bins ? 1.0 : b * width;
    borders.push_back(binning == Binning::equal_width
                          ? share
                          : sorted_quantile(sorted, std::min(share * 100 / 100, 1.0)));
  }
  std::vector<ReliabilityBin> result;
  for (std::size_t b = 0; b + 1 < borders.size(); ++b)
    result.push_back({borders[b], borders[b + 1], 0, 0, 0});
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const auto bin = std::lower_bound(borders.begin() + 1, borders.end() - 1, probabilities[i]) -
                     (borders.begin() + 1);
    ReliabilityBin& b = result[static_cast<std::size_t>(bin)];
    ++b.count;
    b.predicted += probabilities[i];
    b.observed += labels[i];
  }
  for (ReliabilityBin& b : result) {
    b.predicted = b.count == 0 ? kUndefined : b.predicted / b.count;
    b.observed = b.count == 0 ? kUndefined : b.observed / b.count;
  }
  return result;
}

CalibrationError calibration_error(std::span<const ReliabilityBin> bins) {
  double sum = 0, largest = 0;
  std::int64_t count = 0;
  for (const ReliabilityBin& b : bins) {
    if (b.count == 0) continue;
    const double error = std::abs(b.predicted - b.observed);
    sum += error * b.count;
    largest = std::max(largest, error);
    count += b.count;
  }
  if (count == 0) return {kUndefined, kUndefined};
  return {sum / static_cast<double>(count), largest};
}

CalibrationFit calibration_fit(std::span<const int> labels, std::span<const double> probabilities) {
  check(labels, probabilities);
  CalibrationFit result;
  std::vector<double> logits;
  constexpr double infinity = std::numeric_limits<double>::infinity();
  double low[2] = {infinity, infinity}, high[2] = {-infinity, -infinity};
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const double p = inside(probabilities[i]);
    logits.push_back(std::log(p) - std::log1p(-p));
    low[labels[i]] = std::min(low[labels[i]], logits[i]);
    high[labels[i]] = std::max(high[labels[i]], logits[i]);
  }
  if (low[0] > high[0] || low[1] > high[1]) return result;  // a class is absent
  // Rounding decides what a fit gives where the likelihood is as good as level.
  const auto determined = [](const LogisticFit& fit) {
    for (std::size_t k = 0; fit.converged && k < fit.coefficients.size(); ++k)
      if (!(fit.covariance[k * (fit.coefficients.size() + 1)] <= 1000.0 * 1000.0)) return false;
    return fit.converged;
  };
  if (const LogisticFit fit = logistic_newton({}, 0, labels, 0, logits); determined(fit)) {
    result.in_the_large = fit.coefficients[0];
    result.in_the_large_error = std::sqrt(fit.covariance[0]);
  }
  // A finite slope exists just when the classes overlap (Albert & Anderson 1984).
  if (!(low[0] < high[1] && low[1] < high[0])) return result;
  if (const LogisticFit fit = logistic_newton(logits, 1, labels, 0); determined(fit)) {
    result.intercept = fit.coefficients[0];
    result.slope = fit.coefficients[1];
    result.intercept_error = std::sqrt(fit.covariance[0]);
    result.slope_error = std::sqrt(fit.covariance[3]);
  }
  return result;
}

Interval wald_interval(double estimate, double standard_error, double level) {
  const double reach = two_sided_z(level) * standard_error;
  return {estimate - reach, estimate + reach};
}

}  // namespace thorax
