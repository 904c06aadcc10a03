#include "engine/stats/numbers.h"

#include <algorithm>
#include <boost/math/special_functions/beta.hpp>
#include <boost/math/special_functions/erf.hpp>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

#include "engine/tensor/error.h"

namespace thorax {

double normal_quantile(double p) {
  THORAX_CHECK(p >= 0 && p <= 1, "[stats] quantile of probability {}", p);
  if (p == 0 || p == 1) return std::copysign(std::numeric_limits<double>::infinity(), p - 0.5);
  return -std::numbers::sqrt2 * boost::math::erfc_inv(2 * p);
}

double two_sided_z(double level) {
  THORAX_CHECK(level > 0 && level < 1, "[stats] level {} is not between 0 and 1", level);
  return std::numbers::sqrt2 * boost::math::erf_inv(level);
}

double normal_two_sided_p(double z) {
  return std::erfc(std::abs(z) / std::numbers::sqrt2);
}

double chi_square_tail(double x) {
  return std::erfc(std::sqrt(x / 2));
}

double beta_quantile(double a, double b, double p) {
  return boost::math::ibeta_inv(a, b, p);
}

double fair_binomial_cdf(std::int64_t successes, std::int64_t trials) {
  if (successes >= trials) return 1;
  return boost::math::ibetac(static_cast<double>(successes + 1),
                             static_cast<double>(trials - successes), 0.5);
}

double sorted_quantile(std::span<const double> sorted, double q) {
  THORAX_CHECK(!sorted.empty() && q >= 0 && q <= 1, "[stats] quantile {} of {} values", q,
               sorted.size());
  const double position = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(position);
  const double a = sorted[below];
  const double b = sorted[std::min(below + 1, sorted.size() - 1)];
  const double t = position - static_cast<double>(below);
  // From the nearer end; volatile keeps the product from being fused into the sum.
  volatile const double part = (b - a) * (t >= 0.5 ? 1 - t : t);
  return t >= 0.5 ? b - part : a + part;
}

nlohmann::json json_number(double value) {
  return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(nullptr);
}

}  // namespace thorax
