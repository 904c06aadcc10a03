// The definition: two passes for the statistics, double accumulators, float32 or float64.
#include <cmath>
#include <vector>

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/common/reference.h"

namespace thorax {
namespace {

using Sums = std::vector<double>;

// Calls fn(pixel, channel) for every element.
template <class Fn>
void for_elements(const BatchNormProblem& pr, const Fn& fn) {
  for (std::int64_t p = 0; p < pr.pixels(); ++p)
    for (std::int64_t c = 0; c < pr.channels(); ++c) fn(p, c);
}

// Element access by pixel and channel; converts to double.
template <class T>
struct Pixels {
  T* data = nullptr;
  std::int64_t stride = 0;
  explicit Pixels(const Tensor& t) {
    if (!t.defined()) return;
    data = t.data<T>();
    stride = t.pixel_stride();
  }
  T& at(std::int64_t p, std::int64_t c) const { return data[p * stride + c]; }
  double value(std::int64_t p, std::int64_t c) const { return static_cast<double>(at(p, c)); }
};

template <class T>
void statistics(const BatchNormProblem& pr, const Tensor& x, double* mean, double* variance) {
  const Pixels<T> in(x);
  const double count = static_cast<double>(pr.pixels());
  Sums sum(static_cast<std::size_t>(pr.channels())), squares(sum);
  for_elements(pr, [&](auto p, auto c) { sum[static_cast<std::size_t>(c)] += in.value(p, c); });
  for (std::int64_t c = 0; c < pr.channels(); ++c)
    mean[c] = sum[static_cast<std::size_t>(c)] / count;
  for_elements(pr, [&](auto p, auto c) {
    const double d = in.value(p, c) - mean[c];
    squares[static_cast<std::size_t>(c)] += d * d;
  });
  for (std::int64_t c = 0; c < pr.channels(); ++c)
    variance[c] = squares[static_cast<std::size_t>(c)] / count;
}

template <class T>
void forward(const BatchNormProblem& pr, const Tensor& x, const Tensor& weight, const Tensor& bias,
             const Tensor& residual, const BatchNormStatistics& known, const Tensor& y) {
  if (pr.pixels() == 0) return;
  double *m = known.mean.data<double>(), *v = known.variance.data<double>();
  if (pr.training) statistics<T>(pr, x, m, v);
  const T *w = weight.data<T>(), *b = bias.data<T>();
  const Pixels<T> in(x), added(residual), out(y);
  for_elements(pr, [&](auto p, auto c) {
    double value =
        (in.value(p, c) - m[c]) / std::sqrt(v[c] + pr.epsilon) * static_cast<double>(w[c]) +
        static_cast<double>(b[c]);
    if (pr.residual) value += added.value(p, c);
    // NaN passes, as everywhere: a bad value must not turn into a harmless zero.
    out.at(p, c) = static_cast<T>(pr.relu && value <= 0 ? 0.0 : value);
  });
  update_running_on_cpu(pr, known);
}

template <class T>
void backward(const BatchNormProblem& pr, const Tensor& dy, const Tensor& x, const Tensor& y,
              const Tensor& weight, const Tensor&, const BatchNormStatistics& known,
              const Tensor& dx, const Tensor& dresidual, const Tensor& dweight,
              const Tensor& dbias) {
  const std::size_t channels = static_cast<std::size_t>(pr.channels());
  const double count = static_cast<double>(pr.pixels());
  const double *m = known.mean.data<double>(), *v = known.variance.data<double>();
  const Pixels<T> grad(dy), in(x), result(y), out(dx), added(dresidual);
  const auto masked = [&](auto p, auto c) {
    return pr.relu && result.at(p, c) <= 0 ? 0.0 : grad.value(p, c);
  };
  Sums sum(channels), product(channels), inverse(channels);  // of dz and of dz * xhat
  for (std::size_t c = 0; c < channels; ++c) inverse[c] = 1 / std::sqrt(v[c] + pr.epsilon);
  for_elements(pr, [&](auto p, auto c) {
    const std::size_t i = static_cast<std::size_t>(c);
    sum[i] += masked(p, c);
    product[i] += masked(p, c) * (in.value(p, c) - m[c]) * inverse[i];
  });
  for (std::size_t c = 0; c < channels; ++c) {
    if (dweight.defined()) dweight.data<T>()[c] = static_cast<T>(product[c]);
    if (dbias.defined()) dbias.data<T>()[c] = static_cast<T>(sum[c]);
  }
  for_elements(pr, [&](auto p, auto c) {
    const std::size_t i = static_cast<std::size_t>(c);
    const double dz = masked(p, c);
    double value = dz;
    // The batch's own mean and variance depend on x, the running ones do not.
    if (pr.training) value -= (sum[i] + (in.value(p, c) - m[c]) * inverse[i] * product[i]) / count;
    value *= static_cast<double>(weight.data<T>()[c]) * inverse[i];
    if (dresidual.defined()) added.at(p, c) = static_cast<T>(dz);
    if (dx.defined()) out.at(p, c) = static_cast<T>(value);
  });
}

}  // namespace

THORAX_PROVIDER(batch_norm_reference, batch_norm_providers(),
                {.name = "reference",
                 .device = DeviceKind::cpu,
                 .priority = reference::priority,
                 .forward =
                     [](const BatchNormProblem& p, auto&... t) {
                       reference::with_type(p, [&]<class T>(T) { forward<T>(p, t...); });
                     },
                 .backward =
                     [](const BatchNormProblem& p, auto&... t) {
                       reference::with_type(p, [&]<class T>(T) { backward<T>(p, t...); });
                     }});

}  // namespace thorax
