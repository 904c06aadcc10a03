// The definition, element by element in double. The contract stands in engine/optim/step.h.
#include "engine/optim/step.h"

namespace thorax {
namespace {

template <class T>
void run(const SgdStep& s, const Tensor& parameter, const Tensor& grad, const Tensor& momentum) {
  T* p = parameter.data<T>();
  const T* gradient = grad.data<T>();
  T* m = momentum.defined() ? momentum.data<T>() : nullptr;
  for (std::int64_t i = 0; i < parameter.numel(); ++i) {
    double g = s.grad_scale * static_cast<double>(gradient[i]) +
               s.weight_decay * static_cast<double>(p[i]);
    if (m != nullptr) {
      const double buffer =
          s.first ? g : s.momentum * static_cast<double>(m[i]) + (1 - s.dampening) * g;
      m[i] = static_cast<T>(buffer);
      g = s.nesterov ? g + s.momentum * buffer : buffer;
    }
    p[i] = static_cast<T>(static_cast<double>(p[i]) - s.lr * g);
  }
}

}  // namespace

THORAX_PROVIDER(sgd_reference, sgd_step_providers(),
                {.name = "reference",
                 .device = DeviceKind::cpu,
                 .priority = [](const SgdStep&) { return 0; },
                 .run =
                     [](std::span<const SgdUpdate> updates, const Tensor&) {
                       for (const auto& [step, parameter, grad, momentum, values] : updates)
                         parameter.dtype() == DType::f64
                             ? run<double>(step, parameter, grad, momentum)
                             : run<float>(step, parameter, grad, momentum);
                     }});

}  // namespace thorax
