// One pass over parameter, gradient and momentum; eight floats at a time.
#include <algorithm>

#include "engine/optim/step.h"
#include "engine/runtime/parallel.h"
#include "kernels/common/vector_math.h"

namespace thorax {
namespace {

using simd::Floats;

constexpr std::int64_t kGrain = 1 << 15;  // elements per chunk

struct Constants {
  float scale, decay, momentum, fresh, lr;
};

enum class Momentum { none, first, plain, nesterov, first_nesterov };

template <Momentum kMomentum>
void update(const Constants& s, std::int64_t begin, std::int64_t end, float* p,
            const float* gradient, float* m) {
  for (std::int64_t i = begin; i < end; i += 8) {
    const int n = static_cast<int>(std::min<std::int64_t>(8, end - i));
    const Floats value = simd::load_first<8>(p + i, n);
    Floats g = s.scale * simd::load_first<8>(gradient + i, n) + s.decay * value;
    if constexpr (kMomentum != Momentum::none) {
      Floats buffer = g;
      if constexpr (kMomentum == Momentum::plain || kMomentum == Momentum::nesterov)
        buffer = s.momentum * simd::load_first<8>(m + i, n) + s.fresh * g;
      simd::store_first<8>(m + i, buffer, n);
      if constexpr (kMomentum == Momentum::nesterov || kMomentum == Momentum::first_nesterov)
        g = g + s.momentum * buffer;
      else
        g = buffer;
    }
    simd::store_first<8>(p + i, value - s.lr * g, n);
  }
}

void run_float(const SgdStep& step, const Tensor& parameter, const Tensor& grad,
               const Tensor& momentum) {
  const Constants s{static_cast<float>(step.grad_scale), static_cast<float>(step.weight_decay),
                    static_cast<float>(step.momentum), static_cast<float>(1 - step.dampening),
                    static_cast<float>(step.lr)};
  float* p = parameter.data<float>();
  const float* g = grad.data<float>();
  float* m = momentum.defined() ? momentum.data<float>() : nullptr;
  const auto kernel =
      m == nullptr    ? update<Momentum::none>
      : step.nesterov ? (step.first ? update<Momentum::first_nesterov> : update<Momentum::nesterov>)
      : step.first    ? update<Momentum::first>
                      : update<Momentum::plain>;
  parallel_for(0, parameter.numel(), kGrain,
               [&](std::int64_t begin, std::int64_t end) { kernel(s, begin, end, p, g, m); });
}

void run_double(const SgdStep& s, const Tensor& parameter, const Tensor& grad,
                const Tensor& momentum) {
  double* p = parameter.data<double>();
  const double* gradient = grad.data<double>();
  double* m = momentum.defined() ? momentum.data<double>() : nullptr;
  parallel_for(0, parameter.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      double g = s.grad_scale * gradient[i] + s.weight_decay * p[i];
      if (m != nullptr) {
        m[i] = s.first ? g : s.momentum * m[i] + (1 - s.dampening) * g;
        g = s.nesterov ? g + s.momentum * m[i] : m[i];
      }
      p[i] -= s.lr * g;
    }
  });
}

}  // namespace

THORAX_PROVIDER(sgd_cpu, sgd_step_providers(),
                {.name = "cpu",
                 .device = DeviceKind::cpu,
                 .priority = [](const SgdStep&) { return 10; },
                 .run =
                     [](std::span<const SgdUpdate> updates, const Tensor&) {
                       for (const auto& [step, parameter, grad, momentum, values] : updates)
                         parameter.dtype() == DType::f64
                             ? run_double(step, parameter, grad, momentum)
                             : run_float(step, parameter, grad, momentum);
                     }});

}  // namespace thorax
