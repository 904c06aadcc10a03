// Quantiles and tail probabilities that the rest of engine/stats is made from.
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <span>

namespace thorax {

inline constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();

// A range that holds the true value with the confidence that it was made for. NaN: undefined.
struct Interval {
  double low = kUndefined, high = kUndefined;
};

// z with P(Z <= z) = p, of the standard normal distribution; -inf and +inf for 0 and 1.
double normal_quantile(double p);
// z of a two-sided interval: 1.96 for level 0.95. Throws "[stats] ..." unless 0 < level < 1.
double two_sided_z(double level);
// P(|Z| >= |z|)
double normal_two_sided_p(double z);
// P(X >= x) of the chi-square distribution with one degree of freedom.
double chi_square_tail(double x);
// x with P(X <= x) = p of the beta distribution; a, b > 0.
double beta_quantile(double a, double b, double p);
// P(X <= successes) for `trials` throws of a fair coin.
double fair_binomial_cdf(std::int64_t successes, std::int64_t trials);

// Linear interpolation between the two nearest of the values, sorted and not empty; 0 <= q <= 1.
// NumPy's default, bit for bit.
double sorted_quantile(std::span<const double> sorted, double q);

// null for a number that is not finite, as in engine/train/metrics.h.
nlohmann::json json_number(double value);

}  // namespace thorax
