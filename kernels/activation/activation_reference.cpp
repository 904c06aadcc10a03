// The definition, element by element in double.
#include <cmath>

#include "kernels/activation/activation.h"
#include "kernels/common/elements.h"
#include "kernels/common/reference.h"

namespace thorax {
namespace {

double value(const ActivationProblem& p, double x) {
  switch (p.kind) {
    case ActivationKind::relu:
      return x < 0 ? 0.0 : x;
    case ActivationKind::sigmoid:
      return 1.0 / (1.0 + std::exp(-x));
    case ActivationKind::affine:
      return p.a * x + p.b;
    case ActivationKind::exp:
      return std::exp(x);
    case ActivationKind::log:
      return std::log(x);
    case ActivationKind::sqrt:
      return std::sqrt(x);
    case ActivationKind::abs:
      return std::abs(x);
    case ActivationKind::power:
      return std::pow(x, p.a);
  }
  return 0;
}

double gradient(const ActivationProblem& p, double g, double v) {
  switch (p.kind) {
    case ActivationKind::relu:
      return v <= 0 ? 0.0 : g;
    case ActivationKind::sigmoid:
      return g * v * (1 - v);
    case ActivationKind::affine:
      return p.a * g;
    case ActivationKind::exp:
      return g * v;
    case ActivationKind::log:
      return g / v;
    case ActivationKind::sqrt:
      return g / (2 * v);
    case ActivationKind::abs:
      return v == 0 ? 0.0 : v < 0 ? -g : v > 0 ? g : v;
    case ActivationKind::power:
      return p.a == 0 ? 0.0 : g * p.a * std::pow(v, p.a - 1);
  }
  return 0;
}

template <class T>
void forward(const ActivationProblem& p, const Tensor& x, const Tensor& y) {
  const Elements<T> in(x), out(y);
  for (std::int64_t i = 0; i < p.shape.numel(); ++i)
    out[i] = static_cast<T>(value(p, static_cast<double>(in[i])));
}

template <class T>
void backward(const ActivationProblem& p, const Tensor& dy, const Tensor& saved, const Tensor& dx) {
  const Elements<T> grad(dy), of(saved), out(dx);
  for (std::int64_t i = 0; i < p.shape.numel(); ++i)
    out[i] = static_cast<T>(gradient(p, static_cast<double>(grad[i]), static_cast<double>(of[i])));
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
