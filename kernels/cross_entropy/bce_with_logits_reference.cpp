// The definition: plain loops in double.
#include <cmath>
#include <optional>

#include "kernels/common/elements.h"
#include "kernels/common/reference.h"
#include "kernels/cross_entropy/cross_entropy.h"

namespace thorax {
namespace {

// The weight of an element, 1 where there are none.
template <class T>
class WeightOf {
 public:
  explicit WeightOf(const Tensor& weight) {
    if (weight.defined()) elements_.emplace(weight);
  }
  double operator()(std::int64_t i) const {
    return elements_ ? static_cast<double>((*elements_)[i]) : 1.0;
  }

 private:
  std::optional<Elements<T>> elements_;
};

template <class T>
void forward(const BceProblem& p, const Tensor& logits, const Tensor& target, const Tensor& weight,
             const Tensor& loss) {
  const Elements<T> x(logits);
  const TargetElements<T> target_values(target);
  const WeightOf<T> u(weight);
  double sum = 0;
  for (std::int64_t i = 0; i < p.shape.numel(); ++i) {
    const double v = static_cast<double>(x[i]), t = static_cast<double>(target_values[i]);
    // softplus(v) = log(1 + exp(v)) = log(1 + exp(-|v|)) + max(v, 0), which never overflows
    const double common = std::log1p(std::exp(-std::abs(v)));
    sum += u(i) * ((1 - t) * (common + std::max(v, 0.0)) +
                   p.pos_weight * t * (common + std::max(-v, 0.0)));
  }
  loss.data<T>()[0] = static_cast<T>(p.weighted ? sum : sum / static_cast<double>(p.shape.numel()));
}

template <class T>
void backward(const BceProblem& p, const Tensor& dloss, const Tensor& logits, const Tensor& target,
              const Tensor& weight, const Tensor& dlogits) {
  const Elements<T> x(logits), dx(dlogits);
  const TargetElements<T> target_values(target);
  const WeightOf<T> u(weight);
  const double share =
      p.weighted ? dloss.item() : dloss.item() / static_cast<double>(p.shape.numel());
  for (std::int64_t i = 0; i < p.shape.numel(); ++i) {
    const double v = static_cast<double>(x[i]), t = static_cast<double>(target_values[i]);
    const double p1 = 1.0 / (1.0 + std::exp(-v)), p0 = 1.0 / (1.0 + std::exp(v));
    dx[i] = static_cast<T>(share * u(i) * ((1 - t) * p1 - p.pos_weight * t * p0));
  }
}

}  // namespace

THORAX_PROVIDER(bce_with_logits_reference, bce_with_logits_providers(),
                {.name = "reference",
                 .device = DeviceKind::cpu,
                 .priority = reference::priority,
                 .forward =
                     [](const BceProblem& p, auto&... t) {
                       reference::with_type(p, [&]<class T>(T) { forward<T>(p, t...); });
                     },
                 .backward =
                     [](const BceProblem& p, auto&... t) {
                       reference::with_type(p, [&]<class T>(T) { backward<T>(p, t...); });
                     }});

}  // namespace thorax
