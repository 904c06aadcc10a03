// The definition: plain loops, double accumulators, float32 or float64.
#include "kernels/linear/linear.h"

namespace thorax {
namespace {

template <class T>
T* row(const Tensor& t, std::int64_t n) {
  return t.data<T>() + n * t.pixel_stride();
}

// dy where the ReLU let the value through, else 0.
template <class T>
double gated(const LinearProblem& p, const Tensor& dy, const Tensor& y, std::int64_t n,
             std::int64_t k) {
  return p.relu && row<T>(y, n)[k] <= 0 ? 0.0 : static_cast<double>(row<T>(dy, n)[k]);
}

template <class T>
void forward(const LinearProblem& p, const Tensor& x, const Tensor& weight, const Tensor& bias,
             const Tensor& y) {
  for (std::int64_t n = 0; n < p.rows; ++n) {
    for (std::int64_t k = 0; k < p.out_features; ++k) {
      double sum = bias.defined() ? static_cast<double>(bias.data<T>()[k]) : 0.0;
      for (std::int64_t c = 0; c < p.in_features; ++c)
        sum += static_cast<double>(row<T>(x, n)[c]) *
               static_cast<double>(weight.data<T>()[k * p.in_features + c]);
      row<T>(y, n)[k] = static_cast<T>(p.relu && sum < 0 ? 0.0 : sum);
    }
  }
}

template <class T>
void backward_data(const LinearProblem& p, const Tensor& dy, const Tensor& weight, const Tensor& y,
                   const Tensor& dx) {
  for (std::int64_t n = 0; n < p.rows; ++n) {
    for (std::int64_t c = 0; c < p.in_features; ++c) {
      double sum = 0;
      for (std::int64_t k = 0; k < p.out_features; ++k)
        sum +=
            gated<T>(p, dy, y, n, k) * static_cast<double>(weight.data<T>()[k * p.in_features + c]);
      row<T>(dx, n)[c] = static_cast<T>(sum);
    }
  }
}

template <class T>
void backward_weight(const LinearProblem& p, const Tensor& x, const Tensor& dy, const Tensor& y,
                     const Tensor& dweight, const Tensor& dbias) {
  for (std::int64_t k = 0; k < p.out_features; ++k) {
    double bias_sum = 0;
    for (std::int64_t n = 0; n < p.rows; ++n) bias_sum += gated<T>(p, dy, y, n, k);
    if (dbias.defined()) dbias.data<T>()[k] = static_cast<T>(bias_sum);
    for (std::int64_t c = 0; c < p.in_features; ++c) {
      double sum = 0;
      for (std::int64_t n = 0; n < p.rows; ++n)
        sum += gated<T>(p, dy, y, n, k) * static_cast<double>(row<T>(x, n)[c]);
      dweight.data<T>()[k * p.in_features + c] = static_cast<T>(sum);
    }
  }
}

}  // namespace

THORAX_PROVIDER(linear_reference, linear_providers(),
                {.name = "reference",
                 .device = DeviceKind::cpu,
                 .priority =
                     [](const LinearProblem& p) {
                       return p.dtype == DType::f32 || p.dtype == DType::f64 ? 0 : -1;
                     },
                 .forward =
                     [](const LinearProblem& p, auto&... t) {
                       p.dtype == DType::f64 ? forward<double>(p, t...) : forward<float>(p, t...);
                     },
                 .backward_data =
                     [](const LinearProblem& p, auto&... t) {
                       p.dtype == DType::f64 ? backward_data<double>(p, t...)
                                             : backward_data<float>(p, t...);
                     },
                 .backward_weight =
                     [](const LinearProblem& p, auto&... t) {
                       p.dtype == DType::f64 ? backward_weight<double>(p, t...)
                                             : backward_weight<float>(p, t...);
                     }});

}  // namespace thorax
