// A warp a row, its lanes striding over the classes; the sums of a row in double, combined by
// shuffles in a fixed order.
#include "kernels/common/elementwise.cuh"
#include "kernels/common/reduce.cuh"
#include "kernels/softmax/softmax.h"

namespace thorax {
namespace THORAX_GPU {
namespace {

constexpr int kRowsPerBlock = 4;  // a warp each

template <class T>
__global__ void softmax_forward(bool log_of, std::int64_t rows, std::int64_t classes,
                                Pixels<const T> x, Pixels<T> y) {
  const std::int64_t n = static_cast<std::int64_t>(blockIdx.x) * kRowsPerBlock + threadIdx.y;
  if (n >= rows) return;  // a whole warp
  const T* in = x.at(n, 0);
  T* out = y.at(n, 0);
  float largest = -INFINITY;
  for (std::int64_t k = threadIdx.x; k < classes; k += 32) {
    const float v = to_float(in[k]);
    largest = largest < v ? v : largest;
  }
  largest = warp_reduce(largest, Max{});
  double total = 0;
  for (std::int64_t k = threadIdx.x; k < classes; k += 32)
    total += static_cast<double>(expf(to_float(in[k]) - largest));
  total = warp_reduce(total, Sum{});
  const float log_total = static_cast<float>(log(total));
  const float factor = static_cast<float>(1 / total);
  for (std::int64_t k = threadIdx.x; k < classes; k += 32) {
    const float shifted = to_float(in[k]) - largest;
    out[k] = from_float<T>(log_of ? shifted - log_total : expf(shifted) * factor);
  }
}

template <class T>
__global__ void softmax_backward(bool log_of, std::int64_t rows, std::int64_t classes,
                                 Pixels<const T> dy, Pixels<const T> y, Pixels<T> dx) {
  const std::int64_t n = static_cast<std::int64_t>(blockIdx.x) * kRowsPerBlock + threadIdx.y;
  if (n >= rows) return;
  const T *grad = dy.at(n, 0), *result = y.at(n, 0);
  T* out = dx.at(n, 0);
  double sum = 0;
  for (std::int64_t k = threadIdx.x; k < classes; k += 32) {
    const auto g = static_cast<double>(to_float(grad[k]));
    sum += log_of ? g : g * static_cast<double>(to_float(result[k]));
  }
  const float total = static_cast<float>(warp_reduce(sum, Sum{}));
  for (std::int64_t k = threadIdx.x; k < classes; k += 32) {
    const float g = to_float(grad[k]), v = to_float(result[k]);
    out[k] = from_float<T>(log_of ? g - expf(v) * total : v * (g - total));
  }
}

LaunchConfig grid(std::int64_t rows) {
  return {dim3(blocks_for(rows, kRowsPerBlock)), dim3(32, kRowsPerBlock)};
}

void forward(const SoftmaxProblem& p, const Tensor& x, const Tensor& y) {
  if (p.shape.numel() == 0) return;
  dispatch_activation(p.dtype, [&](auto tag) {
    using T = decltype(tag);
    launch(THORAX_KERNEL(softmax_forward<T>), x.device(), grid(x.pixels()), p.log, x.pixels(),
           x.channels(), Pixels<const T>(x), Pixels<T>(y));
  });
}

void backward(const SoftmaxProblem& p, const Tensor& dy, const Tensor& y, const Tensor& dx) {
  if (p.shape.numel() == 0) return;
  dispatch_activation(p.dtype, [&](auto tag) {
    using T = decltype(tag);
    launch(THORAX_KERNEL(softmax_backward<T>), dy.device(), grid(dy.pixels()), p.log, dy.pixels(),
           dy.channels(), Pixels<const T>(dy), Pixels<const T>(y), Pixels<T>(dx));
  });
}

}  // namespace

THORAX_PROVIDER(softmax_cuda, softmax_providers(),
                {.name = "cuda",
                 .device = THORAX_GPU_KIND,
                 .priority =
                     [](const SoftmaxProblem& p) { return is_activation_type(p.dtype) ? 10 : -1; },
                 .forward = forward,
                 .backward = backward});

}  // namespace THORAX_GPU
}  // namespace thorax
