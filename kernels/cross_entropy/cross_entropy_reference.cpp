// The definition: plain loops in double.
#include <cmath>
#include <limits>

#include "kernels/common/reference.h"
#include "kernels/cross_entropy/cross_entropy.h"

namespace thorax {
namespace {

template <class T>
const T* row(const Tensor& t, std::int64_t n) {
  return t.data<T>() + n * t.pixel_stride();
}

double weight_of(const Tensor& class_weights, std::int64_t k) {
  return class_weights.defined() ? static_cast<double>(class_weights.data<float>()[k]) : 1;
}

// log(sum(exp(x)))
template <class T>
double log_sum_exp(const T* x, std::int64_t classes) {
  double highest = -std::numeric_limits<double>::infinity(), sum = 0;
  for (std::int64_t k = 0; k < classes; ++k) highest = std::max(highest, static_cast<double>(x[k]));
  for (std::int64_t k = 0; k < classes; ++k) sum += std::exp(static_cast<double>(x[k]) - highest);
  return highest + std::log(sum);
}

template <class T>
void forward(const CrossEntropyProblem& p, const Tensor& logits, const Tensor& labels,
             const Tensor& class_weights, const Tensor& loss) {
  double total = 0;
  for (std::int64_t n = 0; n < p.rows; ++n) {
    const T* x = row<T>(logits, n);
    const double norm = log_sum_exp(x, p.classes);
    double spread = 0;  // -sum over classes of the weighted log probability
    for (std::int64_t k = 0; k < p.classes; ++k)
      spread += weight_of(class_weights, k) * (norm - static_cast<double>(x[k]));
    const std::int64_t label = labels.data<std::int64_t>()[n];
    const double own = weight_of(class_weights, label) * (norm - static_cast<double>(x[label]));
    total +=
        (1 - p.label_smoothing) * own + p.label_smoothing * spread / static_cast<double>(p.classes);
  }
  loss.data<T>()[0] = static_cast<T>(total / static_cast<double>(p.rows));
}

template <class T>
void backward(const CrossEntropyProblem& p, const Tensor& dloss, const Tensor& logits,
              const Tensor& labels, const Tensor& class_weights, const Tensor& dlogits) {
  const double weight = dloss.item() / static_cast<double>(p.rows);
  for (std::int64_t n = 0; n < p.rows; ++n) {
    const T* x = row<T>(logits, n);
    T* dx = dlogits.data<T>() + n * dlogits.pixel_stride();
    const double norm = log_sum_exp(x, p.classes);
    const std::int64_t label = labels.data<std::int64_t>()[n];
    const auto wanted = [&](std::int64_t k) {  // w_k q_k
      return weight_of(class_weights, k) * ((k == label ? 1 - p.label_smoothing : 0.0) +
                                            p.label_smoothing / static_cast<double>(p.classes));
    };
    double all = 0;
    for (std::int64_t k = 0; k < p.classes; ++k) all += wanted(k);
    for (std::int64_t k = 0; k < p.classes; ++k)
      dx[k] =
          static_cast<T>(weight * (all * std::exp(static_cast<double>(x[k]) - norm) - wanted(k)));
  }
}

}  // namespace

THORAX_PROVIDER(cross_entropy_reference, cross_entropy_providers(),
                {.name = "reference",
                 .device = DeviceKind::cpu,
                 .priority = reference::priority,
                 .forward =
                     [](const CrossEntropyProblem& p, auto&... t) {
                       reference::with_type(p, [&]<class T>(T) { forward<T>(p, t...); });
                     },
                 .backward =
                     [](const CrossEntropyProblem& p, auto&... t) {
                       reference::with_type(p, [&]<class T>(T) { backward<T>(p, t...); });
                     }});

}  // namespace thorax
