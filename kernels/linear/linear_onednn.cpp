// oneDNN's sgemm, to compare with. Not the default: it may split the reduction among threads, so
// that its last bits depend on their number.
#include <algorithm>
#include <dnnl.hpp>

#include "kernels/linear/linear.h"

namespace thorax {
namespace {

// c (m x n) = op(a) * op(b), row-major; a leading dimension is the distance of stored rows.
void gemm(const LinearProblem& p, char transpose_a, char transpose_b, std::int64_t m,
          std::int64_t n, std::int64_t k, const float* a, std::int64_t lda, const float* b,
          std::int64_t ldb, float* c, std::int64_t ldc) {
  if (m == 0 || n == 0) return;
  if (k == 0) {
    for (std::int64_t i = 0; i < m; ++i) std::fill(c + i * ldc, c + i * ldc + n, 0.0f);
    return;
  }
  const dnnl::status status =
      dnnl::sgemm(transpose_a, transpose_b, m, n, k, 1.0f, a, lda, b, ldb, 0.0f, c, ldc);
  THORAX_CHECK(status == dnnl::status::success, "[linear] oneDNN sgemm failed with status {}: {}",
               static_cast<int>(status), p.to_string());
}

void forward(const LinearProblem& p, const Tensor& x, const Tensor& weight, const Tensor& bias,
             const Tensor& y) {
  float* out = y.data<float>();
  gemm(p, 'N', 'T', p.rows, p.out_features, p.in_features, x.data<float>(), x.pixel_stride(),
       weight.data<float>(), p.in_features, out, y.pixel_stride());
  if (!p.bias && !p.relu) return;
  for (std::int64_t n = 0; n < p.rows; ++n) {
    for (std::int64_t k = 0; k < p.out_features; ++k) {
      float& value = out[n * y.pixel_stride() + k];
      if (p.bias) value += bias.data<float>()[k];
      if (p.relu && value < 0) value = 0;
    }
  }
}

// dy with the ReLU's zeros, dense.
Tensor gated(const LinearProblem& p, const Tensor& dy, const Tensor& y) {
  if (!p.relu) return dy;
  const Tensor result = dy.clone();
  float* g = result.data<float>();
  for (std::int64_t n = 0; n < p.rows; ++n)
    for (std::int64_t k = 0; k < p.out_features; ++k)
      if (y.data<float>()[n * y.pixel_stride() + k] <= 0) g[n * p.out_features + k] = 0;
  return result;
}

void backward_data(const LinearProblem& p, const Tensor& dy, const Tensor& weight, const Tensor& y,
                   const Tensor& dx) {
  const Tensor g = gated(p, dy, y);
  gemm(p, 'N', 'N', p.rows, p.in_features, p.out_features, g.data<float>(), g.pixel_stride(),
       weight.data<float>(), p.in_features, dx.data<float>(), dx.pixel_stride());
}

void backward_weight(const LinearProblem& p, const Tensor& x, const Tensor& dy, const Tensor& y,
                     const Tensor& dweight, const Tensor& dbias) {
  const Tensor g = gated(p, dy, y);
  gemm(p, 'T', 'N', p.out_features, p.in_features, p.rows, g.data<float>(), g.pixel_stride(),
       x.data<float>(), x.pixel_stride(), dweight.data<float>(), p.in_features);
  if (!dbias.defined()) return;
  for (std::int64_t k = 0; k < p.out_features; ++k) {
    double sum = 0;
    for (std::int64_t n = 0; n < p.rows; ++n)
      sum += static_cast<double>(g.data<float>()[n * g.pixel_stride() + k]);
    dbias.data<float>()[k] = static_cast<float>(sum);
  }
}

}  // namespace

THORAX_PROVIDER(linear_onednn, linear_providers(),
                {.name = "onednn",
                 .device = DeviceKind::cpu,
                 .priority = [](const LinearProblem& p) { return p.dtype == DType::f32 ? 10 : -1; },
                 .forward = forward,
                 .backward_data = backward_data,
                 .backward_weight = backward_weight});

}  // namespace thorax
