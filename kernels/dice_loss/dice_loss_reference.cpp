// The definition: plain loops, double accumulators.
#include <cmath>

#include "kernels/common/elements.h"
#include "kernels/common/reference.h"
#include "kernels/dice_loss/dice_loss.h"

namespace thorax {
namespace {

double sigmoid(double x) {
  return 1.0 / (1.0 + std::exp(-x));
}

template <class T>
void forward(const DiceProblem& p, const Tensor& logits, const Tensor& target, const Tensor& sums,
             const Tensor& loss) {
  const Elements<T> x(logits);
  const TargetElements<T> g(target);
  double total = 0;
  for (std::int64_t group = 0; group < p.groups(); ++group) {
    DiceSums s{};
    for (std::int64_t i = group * p.group_size(); i < (group + 1) * p.group_size(); ++i) {
      const double a = sigmoid(static_cast<double>(x[i])), b = static_cast<double>(g[i]);
      s.overlap += a * b;
      s.prediction += p.squared ? a * a : a;
      s.target += p.squared ? b * b : b;
    }
    double* saved = sums.data<double>() + 3 * group;
    saved[0] = s.overlap;
    saved[1] = s.prediction;
    saved[2] = s.target;
    total += 1 - s.dice(p.epsilon);
  }
  loss.data<T>()[0] = static_cast<T>(total / static_cast<double>(p.groups()));
}

template <class T>
void backward(const DiceProblem& p, const Tensor& dloss, const Tensor& logits, const Tensor& target,
              const Tensor& sums, const Tensor& dlogits) {
  const Elements<T> x(logits), dx(dlogits);
  const TargetElements<T> g(target);
  for (std::int64_t group = 0; group < p.groups(); ++group) {
    const double* saved = sums.data<double>() + 3 * group;
    const DiceSums s{saved[0], saved[1], saved[2]};
    const double denominator = s.prediction + s.target + p.epsilon;
    const double weight = -dloss.item() / static_cast<double>(p.groups()) / denominator;
    for (std::int64_t i = group * p.group_size(); i < (group + 1) * p.group_size(); ++i) {
      const double a = sigmoid(static_cast<double>(x[i])), b = static_cast<double>(g[i]);
      // d(dice)/dp = (2 g - dice * d(denominator)/dp) / denominator
      const double slope = 2 * b - s.dice(p.epsilon) * (p.squared ? 2 * a : 1.0);
      dx[i] = static_cast<T>(weight * slope * a * (1 - a));
    }
  }
}

}  // namespace

THORAX_PROVIDER(dice_loss_reference, dice_loss_providers(),
                {.name = "reference",
                 .device = DeviceKind::cpu,
                 .priority = reference::priority,
                 .forward =
                     [](const DiceProblem& p, auto&... t) {
                       reference::with_type(p, [&]<class T>(T) { forward<T>(p, t...); });
                     },
                 .backward =
                     [](const DiceProblem& p, auto&... t) {
                       reference::with_type(p, [&]<class T>(T) { backward<T>(p, t...); });
                     }});

}  // namespace thorax
