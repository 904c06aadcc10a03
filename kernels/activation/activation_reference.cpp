// The definition, element by element in double.
#include <cmath>

#include "kernels/activation/activation.h"
#include "kernels/common/elements.h"
#include "kernels/common/reference.h"

namespace thorax {
namespace {

template <class T>
void forward(const ActivationProblem& p, const Tensor& x, const Tensor& y) {
  const Elements<T> in(x), out(y);
  for (std::int64_t i = 0; i < p.shape.numel(); ++i) {
    const double v = static_cast<double>(in[i]);
    out[i] = static_cast<T>(p.kind == ActivationKind::relu ? (v < 0 ? 0.0 : v)
                                                           : 1.0 / (1.0 + std::exp(-v)));
  }
}

template <class T>
void backward(const ActivationProblem& p, const Tensor& dy, const Tensor& y, const Tensor& dx) {
  const Elements<T> grad(dy), result(y), out(dx);
  for (std::int64_t i = 0; i < p.shape.numel(); ++i) {
    const double g = static_cast<double>(grad[i]), v = static_cast<double>(result[i]);
    out[i] = static_cast<T>(p.kind == ActivationKind::relu ? (v <= 0 ? 0.0 : g) : g * v * (1 - v));
  }
}

}  // namespace

THORAX_PROVIDER(activation_reference, activation_providers(),
                {.name = "reference",
                 .device = DeviceKind::cpu,
                 .priority = reference::priority,
                 .forward =
                     [](const ActivationProblem& p, auto&... t) {
                       reference::with_type(p, [&]<class T>(T) { forward<T>(p, t...); });
                     },
                 .backward =
                     [](const ActivationProblem& p, auto&... t) {
                       reference::with_type(p, [&]<class T>(T) { backward<T>(p, t...); });
                     }});

}  // namespace thorax
