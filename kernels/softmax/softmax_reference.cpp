// The definition, row by row in double.
#include <cmath>

#include "kernels/common/elements.h"
#include "kernels/common/reference.h"
#include "kernels/softmax/softmax.h"

namespace thorax {
namespace {

template <class T>
void forward(const SoftmaxProblem& p, const Tensor& x, const Tensor& y) {
  const Elements<T> in(x), out(y);
  const std::int64_t classes = p.shape[-1];
  for (std::int64_t first = 0; first < p.shape.numel(); first += classes) {
    const auto at = [&](std::int64_t k) { return static_cast<double>(in[first + k]); };
    double largest = at(0), total = 0;
    for (std::int64_t k = 1; k < classes; ++k) largest = std::max(largest, at(k));
    for (std::int64_t k = 0; k < classes; ++k) total += std::exp(at(k) - largest);
    for (std::int64_t k = 0; k < classes; ++k)
      out[first + k] = static_cast<T>(p.log ? at(k) - largest - std::log(total)
                                            : std::exp(at(k) - largest) / total);
  }
}

template <class T>
void backward(const SoftmaxProblem& p, const Tensor& dy, const Tensor& y, const Tensor& dx) {
  const Elements<T> grad(dy), result(y), out(dx);
  const std::int64_t classes = p.shape[-1];
  for (std::int64_t first = 0; first < p.shape.numel(); first += classes) {
    double total = 0;
    for (std::int64_t k = first; k < first + classes; ++k)
      total += static_cast<double>(grad[k]) * (p.log ? 1 : static_cast<double>(result[k]));
    for (std::int64_t k = first; k < first + classes; ++k) {
      const double g = static_cast<double>(grad[k]), v = static_cast<double>(result[k]);
      out[k] = static_cast<T>(p.log ? g - std::exp(v) * total : v * (g - total));
    }
  }
}

}  // namespace

THORAX_PROVIDER(softmax_reference, softmax_providers(),
                {.name = "reference",
                 .device = DeviceKind::cpu,
                 .priority = reference::priority,
                 .forward =
                     [](const SoftmaxProblem& p, auto&... t) {
                       reference::with_type(p, [&]<class T>(T) { forward<T>(p, t...); });
                     },
                 .backward =
                     [](const SoftmaxProblem& p, auto&... t) {
                       reference::with_type(p, [&]<class T>(T) { backward<T>(p, t...); });
                     }});

}  // namespace thorax
