// The definition: plain loops, double accumulators, float32 or float64.
#include <algorithm>
#include <vector>

#include "kernels/common/reference.h"
#include "kernels/linear/linear.h"

namespace thorax {
namespace {

template <class T>
struct Rows {
  T* data;
  std::int64_t stride;
  explicit Rows(const Tensor& t) : data(t.data<T>()), stride(t.pixel_stride()) {}
  T* operator[](std::int64_t n) const { return data + n * stride; }
};

// dy in double, 0 where the ReLU stopped the value; rows x out_features.
template <class T>
std::vector<double> gated(const LinearProblem& p, const Tensor& dy, const Tensor& y) {
  const Rows<T> grad(dy), result(p.relu ? y : dy);
  std::vector<double> values;
  for (std::int64_t n = 0; n < p.rows; ++n)
    for (std::int64_t k = 0; k < p.out_features; ++k)
      values.push_back(p.relu && result[n][k] <= 0 ? 0.0 : static_cast<double>(grad[n][k]));
  return values;
}

template <class T>
void forward(const LinearProblem& p, const Tensor& x, const Tensor& weight, const Tensor& bias,
             const Tensor& y) {
  const Rows<T> in(x), w(weight), out(y);
  for (std::int64_t n = 0; n < p.rows; ++n) {
    for (std::int64_t k = 0; k < p.out_features; ++k) {
      double sum = bias.defined() ? static_cast<double>(bias.data<T>()[k]) : 0.0;
      for (std::int64_t c = 0; c < p.in_features; ++c)
        sum += static_cast<double>(in[n][c]) * static_cast<double>(w[k][c]);
      out[n][k] = static_cast<T>(p.relu && sum < 0 ? 0.0 : sum);
    }
  }
}

template <class T>
void backward_data(const LinearProblem& p, const Tensor& dy, const Tensor& weight, const Tensor& y,
                   const Tensor& dx) {
  const std::vector<double> grad = gated<T>(p, dy, y);
  const Rows<T> w(weight), out(dx);
  std::vector<double> sums(static_cast<std::size_t>(p.in_features));
  for (std::int64_t n = 0; n < p.rows; ++n) {
    std::fill(sums.begin(), sums.end(), 0.0);
    for (std::int64_t k = 0; k < p.out_features; ++k) {
      const double g = grad[static_cast<std::size_t>(n * p.out_features + k)];
      for (std::int64_t c = 0; c < p.in_features; ++c)
        sums[static_cast<std::size_t>(c)] += g * static_cast<double>(w[k][c]);
    }
    std::transform(sums.begin(), sums.end(), out[n], [](double v) { return static_cast<T>(v); });
  }
}

template <class T>
void backward_weight(const LinearProblem& p, const Tensor& x, const Tensor& dy, const Tensor& y,
                     const Tensor& dweight, const Tensor& dbias) {
  const std::vector<double> grad = gated<T>(p, dy, y);
  const Rows<T> in(x), out(dweight);
  std::vector<double> sums(static_cast<std::size_t>(p.in_features));
  for (std::int64_t k = 0; k < p.out_features; ++k) {
    std::fill(sums.begin(), sums.end(), 0.0);
    double bias_sum = 0;
    for (std::int64_t n = 0; n < p.rows; ++n) {
      const double g = grad[static_cast<std::size_t>(n * p.out_features + k)];
      bias_sum += g;
      for (std::int64_t c = 0; c < p.in_features; ++c)
        sums[static_cast<std::size_t>(c)] += g * static_cast<double>(in[n][c]);
    }
    std::transform(sums.begin(), sums.end(), out[k], [](double v) { return static_cast<T>(v); });
    if (dbias.defined()) dbias.data<T>()[k] = static_cast<T>(bias_sum);
  }
}

}  // namespace

THORAX_PROVIDER(linear_reference, linear_providers(),
                {.name = "reference",
                 .device = DeviceKind::cpu,
                 .priority = reference::priority,
                 .forward =
                     [](const LinearProblem& p, auto&... t) {
                       reference::with_type(p, [&]<class T>(T) { forward<T>(p, t...); });
                     },
                 .backward_data =
                     [](const LinearProblem& p, auto&... t) {
                       reference::with_type(p, [&]<class T>(T) { backward_data<T>(p, t...); });
                     },
                 .backward_weight =
                     [](const LinearProblem& p, auto&... t) {
                       reference::with_type(p, [&]<class T>(T) { backward_weight<T>(p, t...); });
                     }});

}  // namespace thorax
