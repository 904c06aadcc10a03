// Dice or generalised Dice of several classes with cross entropy: a thread a pixel.
//
// Forward: blocks are chunks of pixels times classes; a block computes its pixels' softmax (or its
// channel's sigmoid) and adds four sums of its own class, so that no thread keeps sums of all. One
// block a class then adds the chunks in order, and one thread turns 4 x classes sums into the loss.
// Backward: a thread a pixel, all its classes; the slopes of the classes come from the sums, which
// a block turns into slopes once. Nothing returns to the host, so that a CUDA graph can hold both.
#include "kernels/common/loss.cuh"
#include "kernels/segmentation_loss/overlap_terms.h"

namespace thorax {
namespace THORAX_GPU {
namespace {

using segmentation_math::Numbers;

constexpr int kPixelsPerThread = 16;
constexpr std::int64_t kPixelChunk = kLossThreads * kPixelsPerThread;

// A pixel's probabilities, one class at a time.
struct Softmax {
  float highest, sum;
};
template <class T>
__device__ Softmax softmax_of(const T* x, int classes) {
  Softmax s{to_float(x[0]), 0};
  for (int c = 1; c < classes; ++c) {
    const float v = to_float(x[c]);
    if (!(v <= s.highest)) s.highest = v;  // a NaN stays
  }
  for (int c = 0; c < classes; ++c) s.sum += expf(to_float(x[c]) - s.highest);
  return s;
}

// What all classes but `c` hold of the sum, without cancellation where `c` is nearly certain.
template <class T>
__device__ float others_of(const T* x, int classes, int c, float highest) {
  float others = 0;
  for (int k = 0; k < classes; ++k)
    if (k != c) others += expf(to_float(x[k]) - highest);
  return others;
}

struct ClassSums {
  double warps[4][kLossThreads / 32];
};

// Planes G: the target's elements of pixel i are g[i * classes + c]; with softmax `labels` count.
template <class T, class G>
__global__ __launch_bounds__(kLossThreads) void sum_classes(const T* x, std::int64_t stride,
                                                            const G* planes,
                                                            std::int64_t plane_stride,
                                                            const std::int64_t* labels, Numbers n,
                                                            std::int64_t pixels, double* partial) {
  THORAX_SHARED(ClassSums, shared);
  const int c = static_cast<int>(blockIdx.x % static_cast<unsigned>(n.classes));
  const std::int64_t begin = blockIdx.x / static_cast<unsigned>(n.classes) * kPixelChunk;
  float overlap = 0, prediction = 0, target = 0, entropy = 0;
  for (int k = 0; k < kPixelsPerThread; ++k) {
    const std::int64_t i = begin + static_cast<std::int64_t>(k) * kLossThreads + threadIdx.x;
    if (i >= pixels) break;
    const T* own = x + i * stride;
    const float logit = to_float(own[c]);
    float p, g;
    if (n.softmax) {
      const Softmax s = softmax_of(own, n.classes);
      const float e = expf(logit - s.highest);
      const std::int64_t label = labels[i];
      p = e / s.sum;
      g = label == c ? 1.0f : 0.0f;
      if (label < 0 || label >= n.classes) p = NAN;  // nothing else can report it from here
      if (label == c && n.cross_entropy > 0) {
        const float others = others_of(own, n.classes, c, s.highest);
        entropy += others < e ? log1pf(others / e) : logf(s.sum) - (logit - s.highest);
      }
    } else {
      p = sigmoid_pair(logit).value;
      g = as_number(planes[i * plane_stride + c]);
      if (n.cross_entropy > 0) {
        const float common = log1pf(expf(-fabsf(logit)));
        const float above = logit < 0 ? 0.0f : logit, below = logit > 0 ? 0.0f : -logit;
        entropy += (1.0f - g) * (common + above) + g * (common + below);
      }
    }
    overlap += p * g;
    prediction += n.squared ? p * p : p;
    target += n.squared ? g * g : g;
  }
  double sums[4] = {overlap, prediction, target, entropy};
  for (int s = 0; s < 4; ++s) sums[s] = block_reduce<kLossThreads>(sums[s], Sum{}, shared.warps[s]);
  if (threadIdx.x == 0)
    for (int s = 0; s < 4; ++s) partial[4 * std::int64_t{blockIdx.x} + s] = sums[s];
}

// A block a class: its chunks in order.
template <int kThreads>
__global__ void add_chunks(const double* partial, unsigned chunks, int classes, double* sums) {
  THORAX_SHARED(ClassSums, shared);
  double own[4] = {0, 0, 0, 0};
  for (unsigned chunk = threadIdx.x; chunk < chunks; chunk += kThreads)
    for (int s = 0; s < 4; ++s)
      own[s] += partial[4 * (std::int64_t{chunk} * classes + blockIdx.x) + s];
  for (int s = 0; s < 4; ++s) own[s] = block_reduce<kThreads>(own[s], Sum{}, shared.warps[s]);
  if (threadIdx.x == 0)
    for (int s = 0; s < 4; ++s) sums[4 * std::int64_t{blockIdx.x} + s] = own[s];
}

// A template like all kernels with a loss: an instantiation is compiled where it is launched.
template <class Loss>
__global__ void finish_loss(const double* sums, Numbers n, Loss* loss) {
  if (threadIdx.x == 0) *loss = static_cast<Loss>(segmentation_math::total_loss(n, sums));
}

struct ClassSlopes {
  float target[kMaxSegmentationClasses], own[kMaxSegmentationClasses];
};

template <class T, class G>
__global__ __launch_bounds__(kLossThreads, 4) void class_gradients(
    const T* x, std::int64_t stride, const G* planes, std::int64_t plane_stride,
    const std::int64_t* labels, Numbers n, std::int64_t pixels, const double* sums,
    const float* dloss, T* dx, std::int64_t dx_stride) {
  THORAX_SHARED(ClassSlopes, slopes);
  const auto scale = static_cast<double>(*dloss);
  if (threadIdx.x < static_cast<unsigned>(n.classes)) {
    const auto s = segmentation_math::overlap_term(n, sums, static_cast<int>(threadIdx.x)).slopes;
    slopes.target[threadIdx.x] = static_cast<float>(scale * s.target);
    slopes.own[threadIdx.x] = static_cast<float>(scale * s.own);
  }
  __syncthreads();
  const std::int64_t i = std::int64_t{blockIdx.x} * kLossThreads + threadIdx.x;
  if (i >= pixels) return;
  const auto weight =
      static_cast<float>(scale * n.cross_entropy / segmentation_math::cross_entropy_terms(n));
  const T* own = x + i * stride;
  T* to = dx + i * dx_stride;
  if (!n.softmax) {
    for (int c = 0; c < n.classes; ++c) {
      const SigmoidPair p = sigmoid_pair(to_float(own[c]));
      const float g = as_number(planes[i * plane_stride + c]);
      const float slope =
          slopes.target[c] * g + (n.squared ? slopes.own[c] * p.value : slopes.own[c]);
      to[c] =
          from_float<T>(slope * (p.value * p.rest) + weight * ((1.0f - g) * p.value - g * p.rest));
    }
    return;
  }
  const Softmax s = softmax_of(own, n.classes);
  const std::int64_t label = labels[i];
  float inner = 0;
  for (int c = 0; c < n.classes; ++c) {
    const float p = expf(to_float(own[c]) - s.highest) / s.sum;
    const float slope =
        (label == c ? slopes.target[c] : 0.0f) + (n.squared ? slopes.own[c] * p : slopes.own[c]);
    inner += p * slope;
  }
  for (int c = 0; c < n.classes; ++c) {
    const float p = expf(to_float(own[c]) - s.highest) / s.sum;
    const float slope =
        (label == c ? slopes.target[c] : 0.0f) + (n.squared ? slopes.own[c] * p : slopes.own[c]);
    const float entropy = label == c ? -(others_of(own, n.classes, c, s.highest) / s.sum) : p;
    to[c] = from_float<T>(p * (slope - inner) + weight * entropy);
  }
}

unsigned chunks_of(const SegmentationLossProblem& p) {
  return blocks_for(p.pixels, kPixelChunk);
}

// Calls fn(logit, element of planes); with softmax there are no planes.
template <class Fn>
void dispatch(const SegmentationLossProblem& p, const Tensor& logits, const Tensor& target,
              const Fn& fn) {
  if (p.options.softmax)
    dispatch_activation(logits.dtype(), [&](auto logit) { fn(logit, std::uint8_t{}); });
  else
    dispatch_loss(logits, target, fn);
}

template <class G>
const G* planes_of(const SegmentationLossProblem& p, const Tensor& target) {
  return p.options.softmax ? nullptr : target.device_data<G>();
}
const std::int64_t* labels_of(const SegmentationLossProblem& p, const Tensor& target) {
  return p.options.softmax ? target.device_data<std::int64_t>() : nullptr;
}

void forward(const SegmentationLossProblem& p, const Tensor& logits, const Tensor& target,
             const Tensor& sums, const Tensor& loss) {
  const Device device = logits.device();
  const Numbers n = segmentation_math::numbers_of(p);
  const unsigned chunks = chunks_of(p), classes = static_cast<unsigned>(p.classes);
  const Tensor partial = Tensor::empty({std::int64_t{chunks} * p.classes, 4}, DType::f64, device);
  dispatch(p, logits, target, [&](auto logit, auto plane) {
    using T = decltype(logit);
    using G = decltype(plane);
    launch(THORAX_KERNEL(sum_classes<T, G>), device, {dim3(chunks * classes), dim3(kLossThreads)},
           static_cast<const T*>(logits.device_data<T>()), logits.pixel_stride(),
           planes_of<G>(p, target), target.pixel_stride(), labels_of(p, target), n, p.pixels,
           partial.device_data<double>());
  });
  launch(THORAX_KERNEL(add_chunks<kLossThreads>), device, {dim3(classes), dim3(kLossThreads)},
         static_cast<const double*>(partial.device_data<double>()), chunks, n.classes,
         sums.device_data<double>());
  launch(THORAX_KERNEL(finish_loss<float>), device, {dim3(1), dim3(32)},
         static_cast<const double*>(sums.device_data<double>()), n, loss.device_data<float>());
}

void backward(const SegmentationLossProblem& p, const Tensor& dloss, const Tensor& logits,
              const Tensor& target, const Tensor& sums, const Tensor& dlogits) {
  const Numbers n = segmentation_math::numbers_of(p);
  dispatch(p, logits, target, [&](auto logit, auto plane) {
    using T = decltype(logit);
    using G = decltype(plane);
    launch(THORAX_KERNEL(class_gradients<T, G>), logits.device(),
           {dim3(blocks_for(p.pixels, kLossThreads)), dim3(kLossThreads)},
           static_cast<const T*>(logits.device_data<T>()), logits.pixel_stride(),
           planes_of<G>(p, target), target.pixel_stride(), labels_of(p, target), n, p.pixels,
           static_cast<const double*>(sums.device_data<double>()),
           static_cast<const float*>(dloss.device_data<float>()), dlogits.device_data<T>(),
           dlogits.pixel_stride());
  });
}

}  // namespace

THORAX_PROVIDER(segmentation_loss_gpu, segmentation_loss_providers(),
                {.name = "cuda",
                 .device = THORAX_GPU_KIND,
                 .priority =
                     [](const SegmentationLossProblem& p) {
                       return is_activation_type(p.dtype) ? 10 : -1;
                     },
                 .forward = forward,
                 .backward = backward});

}  // namespace THORAX_GPU
}  // namespace thorax
