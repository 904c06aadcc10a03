// One pass over parameter, gradient and both moments; eight floats at a time.
#include <algorithm>
#include <cmath>

#include "engine/optim/step.h"
#include "engine/runtime/parallel.h"
#include "kernels/common/vector_math.h"

namespace thorax {
namespace {

using simd::Floats;

constexpr std::int64_t kGrain = 1 << 15;  // elements per chunk

// What does not depend on the element.
template <class T>
struct Constants {
  T scale, shrink, beta1, fresh1, beta2, fresh2, step_size, root_correction, epsilon;
  explicit Constants(const AdamWStep& s)
      : scale(static_cast<T>(s.grad_scale)),
        shrink(static_cast<T>(1 - s.lr * s.weight_decay)),
        beta1(static_cast<T>(s.beta1)),
        fresh1(static_cast<T>(1 - s.beta1)),
        beta2(static_cast<T>(s.beta2)),
        fresh2(static_cast<T>(1 - s.beta2)),
        step_size(static_cast<T>(s.lr / (1 - std::pow(s.beta1, static_cast<double>(s.step))))),
        root_correction(
            static_cast<T>(1 / std::sqrt(1 - std::pow(s.beta2, static_cast<double>(s.step))))),
        epsilon(static_cast<T>(s.epsilon)) {}
};

void run_float(const AdamWStep& step, const Tensor& parameter, const Tensor& grad,
               const Tensor& exp_avg, const Tensor& exp_avg_sq) {
  const Constants<float> s(step);
  float* p = parameter.data<float>();
  const float* gradient = grad.data<float>();
  float *m = exp_avg.data<float>(), *v = exp_avg_sq.data<float>();
  parallel_for(0, parameter.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; i += 8) {
      const int n = static_cast<int>(std::min<std::int64_t>(8, end - i));
      const Floats g = s.scale * simd::load_first<8>(gradient + i, n);
      const Floats mean = s.beta1 * simd::load_first<8>(m + i, n) + s.fresh1 * g;
      const Floats square = s.beta2 * simd::load_first<8>(v + i, n) + s.fresh2 * (g * g);
      const Floats root = simd::sqrt(square) * s.root_correction + s.epsilon;
      simd::store_first<8>(m + i, mean, n);
      simd::store_first<8>(v + i, square, n);
      simd::store_first<8>(p + i,
                           s.shrink * simd::load_first<8>(p + i, n) - s.step_size * mean / root, n);
    }
  });
}

void run_double(const AdamWStep& step, const Tensor& parameter, const Tensor& grad,
                const Tensor& exp_avg, const Tensor& exp_avg_sq) {
  const Constants<double> s(step);
  double* p = parameter.data<double>();
  const double* gradient = grad.data<double>();
  double *m = exp_avg.data<double>(), *v = exp_avg_sq.data<double>();
  parallel_for(0, parameter.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const double g = s.scale * gradient[i];
      m[i] = s.beta1 * m[i] + s.fresh1 * g;
      v[i] = s.beta2 * v[i] + s.fresh2 * g * g;
      p[i] =
          s.shrink * p[i] - s.step_size * m[i] / (std::sqrt(v[i]) * s.root_correction + s.epsilon);
    }
  });
}

}  // namespace

THORAX_PROVIDER(adamw_cpu, adamw_step_providers(),
                {.name = "cpu",
                 .device = DeviceKind::cpu,
                 .priority = [](const AdamWStep&) { return 10; },
                 .run =
                     [](std::span<const AdamWUpdate> updates, const Tensor&) {
                       for (const auto& [step, parameter, grad, exp_avg, exp_avg_sq, values] :
                            updates)
                         parameter.dtype() == DType::f64
                             ? run_double(step, parameter, grad, exp_avg, exp_avg_sq)
                             : run_float(step, parameter, grad, exp_avg, exp_avg_sq);
                     }});

}  // namespace thorax
