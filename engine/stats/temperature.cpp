#include "engine/stats/temperature.h"

#include <algorithm>
#include <cmath>

#include "engine/stats/calibration.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

// One logit as those of two classes.
std::vector<double> of_all_classes(std::span<const double> logits) {
  if (logits.size() == 1) return {0.0, logits[0]};
  return {logits.begin(), logits.end()};
}

// The derivative of the summed -log p(label) by beta = 1 / temperature: sum of E_p[z] - z_label,
// rising in beta.
double slope(const std::vector<std::vector<double>>& logits, std::span<const int> labels,
             double beta) {
  double sum = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const std::vector<double>& z = logits[i];
    const double most = *std::max_element(z.begin(), z.end());
    double weights = 0, mean = 0;
    for (const double value : z) {
      const double weight = std::exp(beta * (value - most));
      weights += weight;
      mean += weight * value;
    }
    sum += mean / weights - z[static_cast<std::size_t>(labels[i])];
  }
  return sum;
}

double mean_nll(const std::vector<std::vector<double>>& logits, std::span<const int> labels,
                double beta) {
  double sum = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const std::vector<double>& z = logits[i];
    const double most = *std::max_element(z.begin(), z.end());
    double weights = 0;
    for (const double value : z) weights += std::exp(beta * (value - most));
    sum += std::log(weights) - beta * (z[static_cast<std::size_t>(labels[i])] - most);
  }
  return sum / static_cast<double>(logits.size());
}

double expected_error(std::span<const std::vector<double>> logits, std::span<const int> labels,
                      double temperature) {
  std::vector<int> events;
  std::vector<double> claimed;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const std::vector<double> p = tempered_probabilities(logits[i], temperature);
    const auto best = static_cast<std::size_t>(std::max_element(p.begin(), p.end()) - p.begin());
    const bool two = p.size() == 2;
    events.push_back(two ? labels[i] : static_cast<int>(static_cast<int>(best) == labels[i]));
    claimed.push_back(std::min(two ? p[1] : p[best], 1.0));
  }
  return calibration_error(reliability_bins(events, claimed)).expected;
}

}  // namespace

std::vector<double> tempered_probabilities(std::span<const double> logits, double temperature) {
  std::vector<double> p = of_all_classes(logits);
  const double most = *std::max_element(p.begin(), p.end());
  double sum = 0;
  for (double& value : p) {
    value = std::exp((value - most) / temperature);
    sum += value;
  }
  for (double& value : p) value /= sum;
  return p;
}

double tempered(double probability, double temperature) {
  if (temperature == 1) return probability;
  const double z = (std::log(probability) - std::log1p(-probability)) / temperature;
  return z >= 0 ? 1 / (1 + std::exp(-z)) : std::exp(z) / (1 + std::exp(z));
}

TemperatureFit fit_temperature(std::span<const std::vector<double>> logits,
                               std::span<const int> labels) {
  THORAX_CHECK(logits.size() == labels.size(), "[stats] {} labels and logits of {} samples",
               labels.size(), logits.size());
  TemperatureFit fit;
  fit.images = static_cast<std::int64_t>(labels.size());
  std::vector<std::vector<double>> all;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    THORAX_CHECK(!logits[i].empty() && logits[i].size() == logits[0].size(),
                 "[stats] sample {} has {} logits, the first one {}", i, logits[i].size(),
                 logits[0].size());
    all.push_back(of_all_classes(logits[i]));
    THORAX_CHECK(labels[i] >= 0 && static_cast<std::size_t>(labels[i]) < all[i].size(),
                 "[stats] label {} of sample {} is none of 0 to {}", labels[i], i,
                 all[i].size() - 1);
    for (const double z : all[i])
      THORAX_CHECK(std::isfinite(z), "[stats] a logit of sample {} is {}", i, z);
  }
  // Beyond these bounds nothing is learnt any more but that there is no end.
  constexpr double kLow = 1e-3, kHigh = 1e3;
  double low = kLow, high = kHigh;
  if (all.empty() || *std::min_element(labels.begin(), labels.end()) ==
                         *std::max_element(labels.begin(), labels.end()))
    return fit;
  if (!(slope(all, labels, low) < 0) || !(slope(all, labels, high) > 0)) return fit;
  while (high / low > 1 + 1e-13) {
    const double middle = std::sqrt(low * high);
    if (middle <= low || middle >= high) break;
    (slope(all, labels, middle) < 0 ? low : high) = middle;
  }
  const double beta = std::sqrt(low * high);
  fit.temperature = 1 / beta;
  fit.nll_before = mean_nll(all, labels, 1);
  fit.nll_after = mean_nll(all, labels, beta);
  fit.ece_before = expected_error(logits, labels, 1);
  fit.ece_after = expected_error(logits, labels, fit.temperature);
  return fit;
}

}  // namespace thorax
