// The definition, element by element in double. The contract stands in engine/optim/step.h.
#include <cmath>

#include "engine/optim/step.h"

namespace thorax {
namespace {

template <class T>
void run(const AdamWStep& s, const Tensor& parameter, const Tensor& grad, const Tensor& exp_avg,
         const Tensor& exp_avg_sq) {
  T* p = parameter.data<T>();
  const T* gradient = grad.data<T>();
  T* m = exp_avg.data<T>();
  T* v = exp_avg_sq.data<T>();
  const double steps = static_cast<double>(s.step);
  const double correction1 = 1 - std::pow(s.beta1, steps);
  const double correction2 = 1 - std::pow(s.beta2, steps);
  for (std::int64_t i = 0; i < parameter.numel(); ++i) {
    const double g = s.grad_scale * static_cast<double>(gradient[i]);
    const double mean = s.beta1 * static_cast<double>(m[i]) + (1 - s.beta1) * g;
    const double square = s.beta2 * static_cast<double>(v[i]) + (1 - s.beta2) * g * g;
    m[i] = static_cast<T>(mean);
    v[i] = static_cast<T>(square);
    p[i] =
        static_cast<T>(static_cast<double>(p[i]) * (1 - s.lr * s.weight_decay) -
                       s.lr / correction1 * mean / (std::sqrt(square / correction2) + s.epsilon));
  }
}

}  // namespace

THORAX_PROVIDER(adamw_reference, adamw_step_providers(),
                {.name = "reference",
                 .device = DeviceKind::cpu,
                 .priority = [](const AdamWStep&) { return 0; },
                 .run =
                     [](std::span<const AdamWUpdate> updates, const Tensor&) {
                       for (const auto& [step, parameter, grad, exp_avg, exp_avg_sq, values] :
                            updates)
                         parameter.dtype() == DType::f64
                             ? run<double>(step, parameter, grad, exp_avg, exp_avg_sq)
                             : run<float>(step, parameter, grad, exp_avg, exp_avg_sq);
                     }});

}  // namespace thorax
