// Rows on several threads, eight classes at a time; the sums of a row are made in double.
#include <cmath>

#include "engine/runtime/parallel.h"
#include "kernels/common/vector_math.h"
#include "kernels/softmax/softmax.h"

namespace thorax {
namespace {

using simd::Floats;

constexpr std::int64_t kGrain = 1 << 13;  // elements per chunk

// row(index of the row) for all of them.
template <class Row>
void for_rows(const SoftmaxProblem& p, const Row& row) {
  const std::int64_t classes = p.shape[-1];
  if (classes == 0) return;
  parallel_for(0, p.shape.numel() / classes, std::max<std::int64_t>(1, kGrain / classes),
               [&](std::int64_t first, std::int64_t last) {
                 for (std::int64_t n = first; n < last; ++n) row(n);
               });
}

int lanes_at(std::int64_t k, std::int64_t classes) {
  return static_cast<int>(std::min<std::int64_t>(8, classes - k));
}

void forward(const SoftmaxProblem& p, const Tensor& x, const Tensor& y) {
  const std::int64_t classes = p.shape[-1];
  for_rows(p, [&](std::int64_t n) {
    const float* in = x.data<float>() + n * x.pixel_stride();
    float* out = y.data<float>() + n * y.pixel_stride();
    float largest = in[0];
    for (std::int64_t k = 1; k < classes; ++k) largest = largest < in[k] ? in[k] : largest;
    double total = 0;
    for (std::int64_t k = 0; k < classes; k += 8) {
      const int lanes = lanes_at(k, classes);
      const Floats shifted = simd::load_first<8>(in + k, lanes) - largest;
      const Floats e = simd::exp(shifted);
      for (int i = 0; i < lanes; ++i) total += static_cast<double>(e[i]);
      simd::store_first<8>(out + k, p.log ? shifted : e, lanes);
    }
    const float log_total = static_cast<float>(std::log(total));
    const float factor = static_cast<float>(1 / total);
    for (std::int64_t k = 0; k < classes; ++k)
      out[k] = p.log ? out[k] - log_total : out[k] * factor;
  });
}

void backward(const SoftmaxProblem& p, const Tensor& dy, const Tensor& y, const Tensor& dx) {
  const std::int64_t classes = p.shape[-1];
  for_rows(p, [&](std::int64_t n) {
    const float* grad = dy.data<float>() + n * dy.pixel_stride();
    const float* result = y.data<float>() + n * y.pixel_stride();
    float* out = dx.data<float>() + n * dx.pixel_stride();
    double sum = 0;
    for (std::int64_t k = 0; k < classes; ++k)
      sum += static_cast<double>(grad[k]) * (p.log ? 1.0 : static_cast<double>(result[k]));
    const float total = static_cast<float>(sum);
    for (std::int64_t k = 0; k < classes; k += 8) {
      const int lanes = lanes_at(k, classes);
      const Floats g = simd::load_first<8>(grad + k, lanes);
      const Floats v = simd::load_first<8>(result + k, lanes);
      simd::store_first<8>(out + k, p.log ? g - simd::exp(v) * total : v * (g - total), lanes);
    }
  });
}

}  // namespace

THORAX_PROVIDER(softmax_cpu, softmax_providers(),
                {.name = "cpu",
                 .device = DeviceKind::cpu,
                 .priority =
                     [](const SoftmaxProblem& p) { return p.dtype == DType::f32 ? 10 : -1; },
                 .forward = forward,
                 .backward = backward});

}  // namespace thorax
