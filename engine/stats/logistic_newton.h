// Newton's method for logistic regression: what linear_model.h and calibration.h share.
#pragma once

#include <span>
#include <vector>

namespace thorax {

struct LogisticFit {
  // The intercept, then one weight per feature.
  std::vector<double> coefficients;
  // Inverse of the Hessian, row after row: without penalty the estimates' covariance.
  std::vector<double> covariance;
  int iterations = 0;
  bool converged = false;  // false: no finite minimum (classes that a plane separates), or singular
};

// Minimises sum_i log(1 + exp(-y_i z_i)) + l2 / 2 |w|^2 with y = +-1 from labels 0 / 1 and
// z_i = offset_i + intercept + <w, x_i>; the intercept is not penalised. `features` holds a row of
// `columns` values per label; `offset` may be empty. Full steps, halved while they do not lower the
// loss; ends when a step moves no coefficient by more than 1e-10 of their size, which leaves an
// error near its square.
LogisticFit logistic_newton(std::span<const double> features, std::size_t columns,
                            std::span<const int> labels, double l2,
                            std::span<const double> offset = {});

// 1 / (1 + exp(-z))
double logistic(double z);

}  // namespace thorax
