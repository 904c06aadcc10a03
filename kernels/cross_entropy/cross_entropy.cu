// Cross entropy with label smoothing and class weights: a warp per row, forward and backward.
//
// Lanes stride over the classes: the largest logit first, then the sum of exponentials relative to
// it (in double, so that a row may be long); both are combined by shuffles, in the same order every
// time. Row losses are averaged by one block in row order. A label outside [0, classes) cannot be
// reported from here without waiting for the device: it makes the loss NaN, and is never used as an
// index.
#include "kernels/common/loss.cuh"
#include "kernels/cross_entropy/cross_entropy.h"

namespace thorax {
namespace THORAX_GPU {
namespace {

constexpr int kRowsPerBlock = 4;  // a warp each

struct Row {
  float highest;        // largest logit, NaN when there is one
  double exponentials;  // sum of exp(x - highest)
  double total;         // sum of w (x - highest)
  double weights;       // sum of w
};

// Every lane gets it; `x` is the row, `w` the class weights, null where they are 1.
template <class T>
__device__ Row describe_row(const T* x, const float* w, std::int64_t classes) {
  const unsigned lane = threadIdx.x % 32;
  Row row{-INFINITY, 0, 0, static_cast<double>(classes)};
  for (std::int64_t k = lane; k < classes; k += 32) {
    const float v = to_float(x[k]);
    if (!(v <= row.highest)) row.highest = v;
  }
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    const float other = __shfl_xor_sync(0xffffffffu, row.highest, lanes);
    // A NaN on either side stays: it loses every comparison.
    if (!(other <= row.highest) && row.highest == row.highest) row.highest = other;
  }
  for (std::int64_t k = lane; k < classes; k += 32) {
    const float v = to_float(x[k]) - row.highest;
    row.exponentials += static_cast<double>(expf(v));
    row.total += static_cast<double>(w ? w[k] * v : v);
  }
  row.exponentials = warp_reduce(row.exponentials, Sum{});
  row.total = warp_reduce(row.total, Sum{});
  if (w) {
    row.weights = 0;
    for (std::int64_t k = lane; k < classes; k += 32) row.weights += static_cast<double>(w[k]);
    row.weights = warp_reduce(row.weights, Sum{});
  }
  return row;
}

__device__ std::int64_t row_index() {
  return static_cast<std::int64_t>(blockIdx.x) * kRowsPerBlock + threadIdx.x / 32;
}

template <class T>
__global__ void row_losses(const T* logits, std::int64_t stride, const std::int64_t* labels,
                           const float* weights, std::int64_t rows, std::int64_t classes,
                           double smoothing, double* losses) {
  const std::int64_t n = row_index();
  if (n >= rows) return;
  const T* x = logits + n * stride;
  const Row row = describe_row(x, weights, classes);
  if (threadIdx.x % 32 != 0) return;
  const std::int64_t label = labels[n];
  if (label < 0 || label >= classes) {
    losses[n] = NAN;
    return;
  }
  const double log_sum = log(row.exponentials);  // relative to the largest logit
  const double weight = weights ? static_cast<double>(weights[label]) : 1.0;
  const double own =
      weight *
      (log_sum - (static_cast<double>(to_float(x[label])) - static_cast<double>(row.highest)));
  const auto count = static_cast<double>(classes);
  const double spread = row.weights / count * log_sum - row.total / count;
  losses[n] = (1 - smoothing) * own + smoothing * spread;
}

template <class T>
__global__ void gradient(const T* logits, std::int64_t stride, const std::int64_t* labels,
                         const float* weights, std::int64_t rows, std::int64_t classes,
                         double smoothing, const float* dloss, T* dlogits,
                         std::int64_t out_stride) {
  const std::int64_t n = row_index();
  if (n >= rows) return;
  const T* x = logits + n * stride;
  T* dx = dlogits + n * out_stride;
  const Row row = describe_row(x, weights, classes);
  const std::int64_t label = labels[n];
  const double weight = static_cast<double>(*dloss) / static_cast<double>(rows);
  const double shared = smoothing / static_cast<double>(classes);
  // Sum of w_k q_k, exactly 1 without weights. A label out of range makes the loss NaN; here it
  // must not be used as an index.
  double all = 1;
  if (weights)
    all = shared * row.weights + (label < 0 || label >= classes
                                      ? 0.0
                                      : (1 - smoothing) * static_cast<double>(weights[label]));
  const auto factor = static_cast<float>(weight * all / row.exponentials);
  const auto rest = static_cast<float>(weight * shared);
  for (std::int64_t k = threadIdx.x % 32; k < classes; k += 32) {
    const float v = to_float(x[k]) - row.highest;
    if (k == label) {
      // In double: softmax - 1 cancels when the row is predicted well.
      const double own = all * exp(static_cast<double>(v)) / row.exponentials;
      const double wanted = 1 - smoothing + shared;
      const double of_class = weights ? static_cast<double>(weights[k]) * wanted : wanted;
      dx[k] = from_float<T>(static_cast<float>(weight * (own - of_class)));
    } else {
      dx[k] = from_float<T>(expf(v) * factor - (weights ? rest * weights[k] : rest));
    }
  }
}

LaunchConfig row_grid(const CrossEntropyProblem& p) {
  return {dim3(blocks_for(p.rows, kRowsPerBlock)), dim3(32 * kRowsPerBlock)};
}

const float* values(const Tensor& class_weights) {
  return class_weights.defined() ? class_weights.device_data<float>() : nullptr;
}

void forward(const CrossEntropyProblem& p, const Tensor& logits, const Tensor& labels,
             const Tensor& class_weights, const Tensor& loss) {
  const Tensor losses = Tensor::empty({p.rows}, DType::f64, logits.device());
  dispatch_activation(p.dtype, [&](auto logit) {
    using T = decltype(logit);
    launch(THORAX_KERNEL(row_losses<T>), logits.device(), row_grid(p), logits.device_data<T>(),
           logits.pixel_stride(), labels.device_data<std::int64_t>(), values(class_weights), p.rows,
           p.classes, p.label_smoothing, losses.device_data<double>());
  });
  mean_of_losses(losses, p.rows, loss);
}

void backward(const CrossEntropyProblem& p, const Tensor& dloss, const Tensor& logits,
              const Tensor& labels, const Tensor& class_weights, const Tensor& dlogits) {
  dispatch_activation(p.dtype, [&](auto logit) {
    using T = decltype(logit);
    launch(THORAX_KERNEL(gradient<T>), logits.device(), row_grid(p), logits.device_data<T>(),
           logits.pixel_stride(), labels.device_data<std::int64_t>(), values(class_weights), p.rows,
           p.classes, p.label_smoothing, dloss.device_data<float>(), dlogits.device_data<T>(),
           dlogits.pixel_stride());
  });
}

}  // namespace

THORAX_PROVIDER(
    cross_entropy_gpu, cross_entropy_providers(),
    {.name = "cuda",
     .device = THORAX_GPU_KIND,
     .priority = [](const CrossEntropyProblem& p) { return is_activation_type(p.dtype) ? 10 : -1; },
     .forward = forward,
     .backward = backward});

}  // namespace THORAX_GPU
}  // namespace thorax
