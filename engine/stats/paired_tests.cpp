#include "engine/stats/paired_tests.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/tensor/error.h"
#include "engine/train/metrics.h"

namespace thorax {
namespace {

// Twice the midranks (from 2), in the order of the scores: whole numbers, so that values that are
// equal by definition are equal here.
std::vector<std::int64_t> twice_midranks(const std::vector<double>& scores) {
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return scores[a] < scores[b]; });
  std::vector<std::int64_t> ranks(scores.size());
  for (std::size_t i = 0; i < order.size();) {
    std::size_t end = i;
    while (end < order.size() && scores[order[end]] == scores[order[i]]) ++end;
    for (std::size_t k = i; k < end; ++k) ranks[order[k]] = static_cast<std::int64_t>(i + end + 1);
    i = end;
  }
  return ranks;
}

// For each positive, twice the number of negatives below it (level ones half); for each negative
// twice the number of positives above it.
struct Placements {
  std::vector<std::int64_t> positives, negatives;
};

Placements placements(std::span<const int> labels, std::span<const double> scores) {
  std::vector<double> of_class[2];
  for (std::size_t i = 0; i < labels.size(); ++i) of_class[labels[i]].push_back(scores[i]);
  auto& [negatives, positives] = of_class;
  std::vector<double> all = positives;
  all.insert(all.end(), negatives.begin(), negatives.end());
  const auto together = twice_midranks(all);
  Placements result{twice_midranks(positives), twice_midranks(negatives)};
  const std::size_t m = positives.size();
  for (std::size_t i = 0; i < m; ++i) result.positives[i] = together[i] - result.positives[i];
  for (std::size_t j = 0; j < negatives.size(); ++j)
    result.negatives[j] =
        2 * static_cast<std::int64_t>(m) - (together[m + j] - result.negatives[j]);
  return result;
}

// Sample covariance of whole numbers over their count, scaled: exactly 0 when one is constant.
double mean_covariance(const std::vector<std::int64_t>& a, const std::vector<std::int64_t>& b,
                       double scale) {
  const auto n = static_cast<std::int64_t>(a.size());
  if (n < 2) return kUndefined;
  const std::int64_t sum_a = std::accumulate(a.begin(), a.end(), std::int64_t{0});
  const std::int64_t sum_b = std::accumulate(b.begin(), b.end(), std::int64_t{0});
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    sum += static_cast<double>(n * a[i] - sum_a) * static_cast<double>(n * b[i] - sum_b);
  const double size = static_cast<double>(n);
  return sum / (size * size) / (size - 1) / size / (scale * scale);
}

double covariance(const Placements& a, const Placements& b) {
  const auto m = static_cast<double>(a.positives.size());
  const auto n = static_cast<double>(a.negatives.size());
  return mean_covariance(a.positives, b.positives, 2 * n) +
         mean_covariance(a.negatives, b.negatives, 2 * m);
}

Interval around(double value, double variance, double level, double low, double high) {
  const double reach = two_sided_z(level) * std::sqrt(variance);
  if (std::isnan(reach)) return {};
  return {std::max(value - reach, low), std::min(value + reach, high)};
}

AucEstimate estimate(std::span<const int> labels, std::span<const double> scores,
                     const Placements& p, double level) {
  AucEstimate result{roc_auc(labels, scores), covariance(p, p), {}};
  result.interval = around(result.auc, result.variance, level, 0, 1);
  return result;
}

}  // namespace

McNemar mcnemar(std::int64_t only_first, std::int64_t only_second) {
  THORAX_CHECK(only_first >= 0 && only_second >= 0, "[stats] McNemar's test of {} and {} samples",
               only_first, only_second);
  McNemar result{only_first, only_second, kUndefined, kUndefined, kUndefined};
  const std::int64_t total = only_first + only_second;
  if (total == 0) return result;
  result.exact_p = std::min(1.0, 2 * fair_binomial_cdf(std::min(only_first, only_second), total));
  const auto excess = static_cast<double>(std::abs(only_first - only_second) - 1);
  result.chi_square = excess * excess / static_cast<double>(total);
  result.chi_square_p = chi_square_tail(result.chi_square);
  return result;
}

McNemar mcnemar(std::span<const int> labels, std::span<const int> first,
                std::span<const int> second) {
  THORAX_CHECK(labels.size() == first.size() && labels.size() == second.size(),
               "[stats] {} labels, {} and {} decisions", labels.size(), first.size(),
               second.size());
  std::int64_t only_first = 0, only_second = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    for (const int value : {labels[i], first[i], second[i]})
      THORAX_CHECK(value == 0 || value == 1,
                   "[stats] label or decision {} of sample {} is not 0 or 1", value, i);
    only_first += first[i] == labels[i] && second[i] != labels[i];
    only_second += first[i] != labels[i] && second[i] == labels[i];
  }
  return mcnemar(only_first, only_second);
}

AucEstimate delong_auc(std::span<const int> labels, std::span<const double> scores, double level) {
  two_sided_z(level);            // a bad level is an error, whatever the data
  score_groups(labels, scores);  // as are bad labels and scores
  return estimate(labels, scores, placements(labels, scores), level);
}

DelongTest delong_test(std::span<const int> labels, std::span<const double> first,
                       std::span<const double> second, double level) {
  two_sided_z(level);
  score_groups(labels, first);
  score_groups(labels, second);
  const Placements a = placements(labels, first), b = placements(labels, second);
  DelongTest result;
  result.first = estimate(labels, first, a, level);
  result.second = estimate(labels, second, b, level);
  result.covariance = covariance(a, b);
  result.difference = result.first.auc - result.second.auc;
  // From the differences themselves: exactly 0 for equal rankings.
  Placements apart = a;
  for (std::size_t i = 0; i < apart.positives.size(); ++i) apart.positives[i] -= b.positives[i];
  for (std::size_t j = 0; j < apart.negatives.size(); ++j) apart.negatives[j] -= b.negatives[j];
  result.variance = covariance(apart, apart);
  result.interval = around(result.difference, result.variance, level, -1, 1);
  if (result.variance > 0) {
    result.z = result.difference / std::sqrt(result.variance);
    result.p = normal_two_sided_p(result.z);
  }
  return result;
}

std::vector<double> holm(std::span<const double> p_values) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < p_values.size(); ++i) {
    if (std::isnan(p_values[i])) continue;
    THORAX_CHECK(p_values[i] >= 0 && p_values[i] <= 1, "[stats] p-value {} of test {}", p_values[i],
                 i);
    order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return p_values[a] < p_values[b]; });
  std::vector<double> adjusted(p_values.size(), kUndefined);
  double least = 0;
  for (std::size_t k = 0; k < order.size(); ++k) {
    least = std::max(least, p_values[order[k]] * static_cast<double>(order.size() - k));
    adjusted[order[k]] = std::min(1.0, least);
  }
  return adjusted;
}

}  // namespace thorax
