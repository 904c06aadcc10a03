#include "engine/stats/logistic_newton.h"

#include <algorithm>
#include <cmath>

#include "engine/tensor/error.h"

namespace thorax {
namespace {

using Vector = std::vector<double>;

struct Problem {
  std::span<const double> features;
  std::size_t columns;
  std::span<const int> labels;
  double l2;
  std::span<const double> offset;

  double logit(std::size_t i, const Vector& c) const {
    double z = c[0] + (offset.empty() ? 0 : offset[i]);
    for (std::size_t k = 0; k < columns; ++k) z += c[k + 1] * features[i * columns + k];
    return z;
  }
  double loss(const Vector& c) const {
    double sum = 0;
    for (std::size_t i = 0; i < labels.size(); ++i) {
      const double z = logit(i, c) * (labels[i] == 1 ? -1 : 1);  // loss: log(1 + exp(z))
      sum += std::max(z, 0.0) + std::log1p(std::exp(-std::abs(z)));
    }
    for (std::size_t k = 1; k < c.size(); ++k) sum += l2 / 2 * c[k] * c[k];
    return sum;
  }
  // Gradient, and the Hessian's lower triangle.
  void derivatives(const Vector& c, Vector& gradient, Vector& hessian) const {
    const std::size_t d = columns + 1;
    gradient.assign(d, 0);
    hessian.assign(d * d, 0);
    Vector x(d, 1);
    for (std::size_t i = 0; i < labels.size(); ++i) {
      for (std::size_t k = 0; k < columns; ++k) x[k + 1] = features[i * columns + k];
      const double z = logit(i, c), p = logistic(z), weight = p * logistic(-z);
      for (std::size_t r = 0; r < d; ++r) {
        gradient[r] += (p - labels[i]) * x[r];
        for (std::size_t k = 0; k <= r; ++k) hessian[r * d + k] += weight * x[r] * x[k];
      }
    }
    for (std::size_t k = 1; k < d; ++k) {
      gradient[k] += l2 * c[k];
      hessian[k * d + k] += l2;
    }
  }
};

// Lower triangle in place to its Cholesky factor; false when the matrix is not positive definite
// beyond rounding.
bool cholesky(Vector& a, std::size_t d) {
  for (std::size_t j = 0; j < d; ++j) {
    const double whole = a[j * d + j];
    double pivot = whole;
    for (std::size_t k = 0; k < j; ++k) pivot -= a[j * d + k] * a[j * d + k];
    if (!(pivot > 1e-14 * whole)) return false;  // also for NaN
    a[j * d + j] = std::sqrt(pivot);
    for (std::size_t i = j + 1; i < d; ++i) {
      double sum = a[i * d + j];
      for (std::size_t k = 0; k < j; ++k) sum -= a[i * d + k] * a[j * d + k];
      a[i * d + j] = sum / a[j * d + j];
    }
  }
  return true;
}

// Solves L L^T x = b in place.
void solve(const Vector& factor, std::size_t d, std::span<double> b) {
  for (std::size_t i = 0; i < d; ++i) {
    for (std::size_t k = 0; k < i; ++k) b[i] -= factor[i * d + k] * b[k];
    b[i] /= factor[i * d + i];
  }
  for (std::size_t i = d; i-- > 0;) {
    for (std::size_t k = i + 1; k < d; ++k) b[i] -= factor[k * d + i] * b[k];
    b[i] /= factor[i * d + i];
  }
}

}  // namespace

double logistic(double z) {
  return z >= 0 ? 1 / (1 + std::exp(-z)) : std::exp(z) / (1 + std::exp(z));
}

LogisticFit logistic_newton(std::span<const double> features, std::size_t columns,
                            std::span<const int> labels, double l2,
                            std::span<const double> offset) {
  THORAX_CHECK(features.size() == columns * labels.size(),
               "[stats] {} features for {} samples of {}", features.size(), labels.size(), columns);
  THORAX_CHECK(offset.empty() || offset.size() == labels.size(),
               "[stats] {} offsets for {} samples", offset.size(), labels.size());
  const Problem problem{features, columns, labels, l2, offset};
  const std::size_t d = columns + 1;
  LogisticFit fit;
  fit.coefficients.assign(d, 0);
  Vector gradient, factor;
  double loss = problem.loss(fit.coefficients);
  for (fit.iterations = 1; fit.iterations <= 100; ++fit.iterations) {
    problem.derivatives(fit.coefficients, gradient, factor);
    if (!cholesky(factor, d)) return fit;
    solve(factor, d, gradient);
    const auto moved = [&](double share) {
      Vector next = fit.coefficients;
      for (std::size_t k = 0; k < d; ++k) next[k] -= share * gradient[k];
      return next;
    };
    double share = 1;
    Vector next = moved(share);
    double next_loss = problem.loss(next);
    // Near the minimum the loss is level to rounding: that is no reason to go back.
    while (!(next_loss <= loss + 1e-12 * std::abs(loss)) && share > 1e-20) {
      share /= 2;
      next = moved(share);
      next_loss = problem.loss(next);
    }
    double step = 0, size = 1;
    for (std::size_t k = 0; k < d; ++k) {
      step = std::max(step, std::abs(gradient[k]));
      size = std::max(size, std::abs(next[k]));
    }
    fit.coefficients = std::move(next);
    loss = next_loss;
    if (share == 1 && step <= 1e-10 * size) {
      fit.converged = true;
      break;
    }
  }
  problem.derivatives(fit.coefficients, gradient, factor);
  if (!cholesky(factor, d)) {
    fit.converged = false;
    return fit;
  }
  fit.covariance.assign(d * d, 0);
  for (std::size_t k = 0; k < d; ++k) {  // symmetric: a column is a row
    fit.covariance[k * d + k] = 1;
    solve(factor, d, std::span(fit.covariance).subspan(k * d, d));
  }
  return fit;
}

}  // namespace thorax
