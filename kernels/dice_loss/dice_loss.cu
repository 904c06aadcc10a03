// Dice loss: sigmoid and all three sums in one pass over logits and target, blocks combined in a
// fixed order; the gradient in one more pass, the sigmoid computed again.
//
// Forward: a block per chunk of 4096 elements of a group writes three partial sums (sum_chunks), a
// block per group adds those and writes the group's loss (sum_groups), one block takes the mean.
// Backward: the same chunks; thread 0 turns the group's sums and dloss into the two slopes that all
// elements share. Nothing returns to the host, so that a CUDA graph can hold both.
#include "kernels/common/loss.cuh"
#include "kernels/dice_loss/dice_loss.h"

namespace thorax {
namespace THORAX_GPU {
namespace {

template <class T, class G, bool kSquared>
__global__ __launch_bounds__(kLossThreads) void sum_chunks(LossElements<T> x, LossElements<G> g,
                                                           std::int64_t group_size, unsigned chunks,
                                                           double* partial) {
  THORAX_SHARED(LossSums, shared);
  const LossChunk chunk = loss_chunk(group_size, chunks);
  float overlap = 0, prediction = 0, target = 0;
  for (int k = 0; k < kLossSteps; ++k) {
    const std::int64_t i = loss_element(chunk, k);
    if (i >= chunk.end) break;
    const int count = loss_count(chunk, i);
    const Floats<4> logit = x.load(i, count), label = g.load(i, count);
    for (int j = 0; j < 4; ++j) {
      const float p = j < count ? sigmoid_pair(logit[j]).value : 0.0f, t = label[j];
      overlap += p * t;
      prediction += kSquared ? p * p : p;
      target += kSquared ? t * t : t;
    }
  }
  double sums[3] = {overlap, prediction, target};
  for (int s = 0; s < 3; ++s) sums[s] = block_reduce<kLossThreads>(sums[s], Sum{}, shared.warps[s]);
  if (threadIdx.x == 0)
    for (int s = 0; s < 3; ++s) partial[3 * std::int64_t{blockIdx.x} + s] = sums[s];
}

template <int kThreads>
__global__ void sum_groups(const double* partial, unsigned chunks, double epsilon, double* sums,
                           double* losses) {
  THORAX_SHARED(LossSums, shared);
  double own[3] = {0, 0, 0};
  for (unsigned chunk = threadIdx.x; chunk < chunks; chunk += kThreads)
    for (int s = 0; s < 3; ++s)
      own[s] += partial[3 * (std::int64_t{blockIdx.x} * chunks + chunk) + s];
  for (int s = 0; s < 3; ++s) own[s] = block_reduce<kThreads>(own[s], Sum{}, shared.warps[s]);
  if (threadIdx.x != 0) return;
  for (int s = 0; s < 3; ++s) sums[3 * std::int64_t{blockIdx.x} + s] = own[s];
  losses[blockIdx.x] = 1 - (2 * own[0] + epsilon) / (own[1] + own[2] + epsilon);
}

// dx = (target * g + own * (squared ? p : 1)) * p * (1 - p)
struct Slopes {
  float target, own;
};
template <class T, class G, bool kSquared>
__global__ __launch_bounds__(kLossThreads) void gradient(LossElements<T> x, LossElements<G> g,
                                                         std::int64_t group_size, unsigned chunks,
                                                         double share, double epsilon,
                                                         const double* sums, const float* dloss,
                                                         LossElements<T> dx) {
  THORAX_SHARED(Slopes, slopes);
  const LossChunk chunk = loss_chunk(group_size, chunks);
  if (threadIdx.x == 0) {
    const double* s = sums + 3 * chunk.group;
    const double denominator = s[1] + s[2] + epsilon;
    const double dice = (2 * s[0] + epsilon) / denominator;
    const double weight = -static_cast<double>(*dloss) * share / denominator;
    slopes.target = static_cast<float>(2 * weight);
    slopes.own = static_cast<float>((kSquared ? -2.0 : -1.0) * weight * dice);
  }
  __syncthreads();
  const Slopes slope = slopes;
  for (int k = 0; k < kLossSteps; ++k) {
    const std::int64_t i = loss_element(chunk, k);
    if (i >= chunk.end) break;
    const int count = loss_count(chunk, i);
    const Floats<4> logit = x.load(i, count), label = g.load(i, count);
    Floats<4> result;
    for (int j = 0; j < 4; ++j) {
      const SigmoidPair p = sigmoid_pair(logit[j]);
      const float own = kSquared ? slope.own * p.value : slope.own;
      result[j] = (slope.target * label[j] + own) * (p.value * p.rest);
    }
    dx.store(i, count, result);
  }
}

unsigned chunks_of(const DiceProblem& p) {
  return blocks_for(p.group_size(), kLossChunk);
}
LaunchConfig chunk_grid(const DiceProblem& p) {
  return {dim3(static_cast<unsigned>(p.groups()) * chunks_of(p)), dim3(kLossThreads)};
}

void forward(const DiceProblem& p, const Tensor& logits, const Tensor& target, const Tensor& sums,
             const Tensor& loss) {
  const Device device = logits.device();
  const unsigned chunks = chunks_of(p);
  const Tensor partial = Tensor::empty({p.groups() * chunks, 3}, DType::f64, device);
  const Tensor losses = Tensor::empty({p.groups()}, DType::f64, device);
  dispatch_loss(logits, target, [&](auto logit, auto label) {
    using T = decltype(logit);
    using G = decltype(label);
    const auto kernel =
        p.squared ? THORAX_KERNEL(sum_chunks<T, G, true>) : THORAX_KERNEL(sum_chunks<T, G, false>);
    launch(kernel, device, chunk_grid(p), LossElements<T>(logits, p.group_size()),
           LossElements<G>(target, p.group_size()), p.group_size(), chunks,
           partial.device_data<double>());
  });
  launch(THORAX_KERNEL(sum_groups<kLossThreads>), device,
         {dim3(static_cast<unsigned>(p.groups())), dim3(kLossThreads)},
         partial.device_data<double>(), chunks, p.epsilon, sums.device_data<double>(),
         losses.device_data<double>());
  mean_of_losses(losses, p.groups(), loss);
}

void backward(const DiceProblem& p, const Tensor& dloss, const Tensor& logits, const Tensor& target,
              const Tensor& sums, const Tensor& dlogits) {
  dispatch_loss(logits, target, [&](auto logit, auto label) {
    using T = decltype(logit);
    using G = decltype(label);
    const auto kernel =
        p.squared ? THORAX_KERNEL(gradient<T, G, true>) : THORAX_KERNEL(gradient<T, G, false>);
    launch(kernel, logits.device(), chunk_grid(p), LossElements<T>(logits, p.group_size()),
           LossElements<G>(target, p.group_size()), p.group_size(), chunks_of(p),
           1.0 / static_cast<double>(p.groups()), p.epsilon, sums.device_data<double>(),
           dloss.device_data<float>(), LossElements<T>(dlogits, p.group_size()));
  });
}

}  // namespace

THORAX_PROVIDER(dice_loss_gpu, dice_loss_providers(),
                {.name = "cuda",
                 .device = THORAX_GPU_KIND,
                 .priority =
                     [](const DiceProblem& p) { return is_activation_type(p.dtype) ? 10 : -1; },
                 .forward = forward,
                 .backward = backward});

}  // namespace THORAX_GPU
}  // namespace thorax
