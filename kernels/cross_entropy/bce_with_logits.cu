// Binary cross entropy on logits: one pass forward, one backward.
//
// A block per chunk of 4096 elements adds its terms; one block adds the blocks' sums in a fixed
// order and divides. softplus(x) and softplus(-x) share log(1 + exp(-|x|)), so that a term takes
// one exponential and one logarithm and nothing overflows. Backward has no sum at all: dloss is
// read on the device. Weighted sums have kernels of their own, which read one more float an
// element.
#include "kernels/common/loss.cuh"
#include "kernels/cross_entropy/cross_entropy.h"

namespace thorax {
namespace THORAX_GPU {
namespace {

__device__ float term(float v, float u, float pos_weight) {
  const float common = log1pf(expf(-fabsf(v)));
  // Not fmaxf, which would drop a NaN.
  const float above = v < 0 ? 0.0f : v, below = v > 0 ? 0.0f : -v;
  return (1.0f - u) * (common + above) + pos_weight * u * (common + below);
}

__device__ float slope(float v, float u, float pos_weight) {
  const SigmoidPair s = sigmoid_pair(v);
  return (1.0f - u) * s.value - pos_weight * u * s.rest;
}

template <class T, class G>
__global__ __launch_bounds__(kLossThreads) void sum_chunks(LossElements<T> x, LossElements<G> t,
                                                           std::int64_t size, unsigned chunks,
                                                           float pos_weight, double* partial) {
  THORAX_SHARED(LossSums, shared);
  const LossChunk chunk = loss_chunk(size, chunks);
  float sum = 0;
  for (int k = 0; k < kLossSteps; ++k) {
    const std::int64_t i = loss_element(chunk, k);
    if (i >= chunk.end) break;
    const int count = loss_count(chunk, i);
    const Floats<4> logit = x.load(i, count), label = t.load(i, count);
    for (int j = 0; j < 4; ++j) {
      if (j >= count) break;
      sum += term(logit[j], label[j], pos_weight);
    }
  }
  const double total = block_reduce<kLossThreads>(static_cast<double>(sum), Sum{}, shared.warps[0]);
  if (threadIdx.x == 0) partial[blockIdx.x] = total;
}

template <class T, class G>
__global__ __launch_bounds__(kLossThreads) void gradient(LossElements<T> x, LossElements<G> t,
                                                         std::int64_t size, unsigned chunks,
                                                         float pos_weight, double share,
                                                         const float* dloss, LossElements<T> dx) {
  const LossChunk chunk = loss_chunk(size, chunks);
  const auto weight = static_cast<float>(static_cast<double>(*dloss) * share);
  for (int k = 0; k < kLossSteps; ++k) {
    const std::int64_t i = loss_element(chunk, k);
    if (i >= chunk.end) break;
    const int count = loss_count(chunk, i);
    const Floats<4> logit = x.load(i, count), label = t.load(i, count);
    Floats<4> result;
    for (int j = 0; j < 4; ++j) result[j] = weight * slope(logit[j], label[j], pos_weight);
    dx.store(i, count, result);
  }
}

template <class T, class G>
__global__ __launch_bounds__(kLossThreads) void sum_weighted_chunks(
    LossElements<T> x, LossElements<G> t, LossElements<float> weight, std::int64_t size,
    unsigned chunks, float pos_weight, double* partial) {
  THORAX_SHARED(LossSums, shared);
  const LossChunk chunk = loss_chunk(size, chunks);
  float sum = 0;
  for (int k = 0; k < kLossSteps; ++k) {
    const std::int64_t i = loss_element(chunk, k);
    if (i >= chunk.end) break;
    const int count = loss_count(chunk, i);
    const Floats<4> logit = x.load(i, count), label = t.load(i, count), own = weight.load(i, count);
    for (int j = 0; j < 4; ++j) {
      if (j >= count) break;
      sum += own[j] * term(logit[j], label[j], pos_weight);
    }
  }
  const double total = block_reduce<kLossThreads>(static_cast<double>(sum), Sum{}, shared.warps[0]);
  if (threadIdx.x == 0) partial[blockIdx.x] = total;
}

template <class T, class G>
__global__ __launch_bounds__(kLossThreads) void weighted_gradient(
    LossElements<T> x, LossElements<G> t, LossElements<float> weight, std::int64_t size,
    unsigned chunks, float pos_weight, const float* dloss, LossElements<T> dx) {
  const LossChunk chunk = loss_chunk(size, chunks);
  const float all = *dloss;
  for (int k = 0; k < kLossSteps; ++k) {
    const std::int64_t i = loss_element(chunk, k);
    if (i >= chunk.end) break;
    const int count = loss_count(chunk, i);
    const Floats<4> logit = x.load(i, count), label = t.load(i, count), own = weight.load(i, count);
    Floats<4> result;
    for (int j = 0; j < 4; ++j) result[j] = all * own[j] * slope(logit[j], label[j], pos_weight);
    dx.store(i, count, result);
  }
}

void forward(const BceProblem& p, const Tensor& logits, const Tensor& target, const Tensor& weight,
             const Tensor& loss) {
  const std::int64_t size = p.shape.numel();
  const unsigned chunks = blocks_for(size, kLossChunk);
  const Tensor partial = Tensor::empty({chunks}, DType::f64, logits.device());
  dispatch_loss(logits, target, [&](auto logit, auto label) {
    using T = decltype(logit);
    using G = decltype(label);
    const LossElements<T> x(logits, size);
    const LossElements<G> t(target, size);
    if (p.weighted)
      launch(THORAX_KERNEL(sum_weighted_chunks<T, G>), logits.device(),
             {dim3(chunks), dim3(kLossThreads)}, x, t, LossElements<float>(weight, size), size,
             chunks, p.pos_weight, partial.device_data<double>());
    else
      launch(THORAX_KERNEL(sum_chunks<T, G>), logits.device(), {dim3(chunks), dim3(kLossThreads)},
             x, t, size, chunks, p.pos_weight, partial.device_data<double>());
  });
  mean_of_losses(partial, p.weighted ? 1 : size, loss);
}

void backward(const BceProblem& p, const Tensor& dloss, const Tensor& logits, const Tensor& target,
              const Tensor& weight, const Tensor& dlogits) {
  const std::int64_t size = p.shape.numel();
  const unsigned chunks = blocks_for(size, kLossChunk);
  dispatch_loss(logits, target, [&](auto logit, auto label) {
    using T = decltype(logit);
    using G = decltype(label);
    const LossElements<T> x(logits, size), dx(dlogits, size);
    const LossElements<G> t(target, size);
    if (p.weighted)
      launch(THORAX_KERNEL(weighted_gradient<T, G>), logits.device(),
             {dim3(chunks), dim3(kLossThreads)}, x, t, LossElements<float>(weight, size), size,
             chunks, p.pos_weight, dloss.device_data<float>(), dx);
    else
      launch(THORAX_KERNEL(gradient<T, G>), logits.device(), {dim3(chunks), dim3(kLossThreads)}, x,
             t, size, chunks, p.pos_weight, 1.0 / static_cast<double>(size),
             dloss.device_data<float>(), dx);
  });
}

}  // namespace

THORAX_PROVIDER(bce_with_logits_gpu, bce_with_logits_providers(),
                {.name = "cuda",
                 .device = THORAX_GPU_KIND,
                 .priority =
                     [](const BceProblem& p) { return is_activation_type(p.dtype) ? 10 : -1; },
                 .forward = forward,
                 .backward = backward});

}  // namespace THORAX_GPU
}  // namespace thorax
