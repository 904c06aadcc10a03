// What the losses' kernels share: elements of logits and targets read four at a time and widened to
// float, the sigmoid and its complement, and sums whose order depends on nothing but the sizes.
//
// A block of kLossThreads works on a chunk of kLossChunk elements of one group (an image, or the
// batch). Thread t takes elements 4 (t + 256 k) ... + 3 of it, k = 0 .. 3, whether they can be read
// as vectors or not, so that a channel slice gives the same bits as a dense tensor. A thread adds
// its 16 terms in float, threads and blocks are added in double.
#pragma once

#include "engine/runtime/launch.cuh"
#include "engine/tensor/half.h"
#include "engine/tensor/tensor.h"
#include "kernels/common/elements.h"
#include "kernels/common/elementwise.cuh"
#include "kernels/common/reduce.cuh"
#include "kernels/common/vec.cuh"

namespace thorax {
namespace THORAX_GPU {

constexpr int kLossThreads = 256;
constexpr int kLossSteps = 4;
constexpr std::int64_t kLossChunk = kLossThreads * kLossSteps * 4;

// The chunk of a block; blocks run over the chunks of group 0, then those of group 1, ...
struct LossChunk {
  std::int64_t group, begin, end;
};
__device__ inline LossChunk loss_chunk(std::int64_t group_size, unsigned chunks) {
  const std::int64_t group = blockIdx.x / chunks;
  const std::int64_t begin = group * group_size + blockIdx.x % chunks * kLossChunk;
  const std::int64_t end = (group + 1) * group_size;
  return {group, begin, begin + kLossChunk < end ? begin + kLossChunk : end};
}
// First element of the calling thread in step `k` of its chunk.
__device__ inline std::int64_t loss_element(const LossChunk& chunk, int k) {
  return chunk.begin + 4 * (static_cast<std::int64_t>(k) * kLossThreads + threadIdx.x);
}

// How many of the four elements from i on the chunk has.
__device__ inline int loss_count(const LossChunk& chunk, std::int64_t i) {
  return chunk.end - i < 4 ? static_cast<int>(chunk.end - i) : 4;
}

template <class T>
__device__ float as_number(T value) {
  return to_float(value);
}
template <>
__device__ inline float as_number<std::uint8_t>(std::uint8_t value) {
  return value != 0 ? 1.0f : 0.0f;  // a mask, whatever its byte for "yes"
}

// Elements by logical index (the index in a contiguous copy).
template <class T>
struct LossElements {
  T* data;
  std::int64_t channels, stride;
  bool vectors;  // an index that is a multiple of 4 may be read as a vector

  LossElements(const Tensor& t, std::int64_t group_size)
      : data(t.device_data<T>()),
        channels(t.contiguous() ? 1 : t.channels()),
        stride(t.contiguous() ? 1 : t.pixel_stride()),
        vectors(t.contiguous() && (group_size % 4 == 0 || group_size == t.numel()) &&
                reinterpret_cast<std::uintptr_t>(data) % (4 * sizeof(T)) == 0) {}
  __device__ T* at(std::int64_t i) const {
    return data + (channels == 1 ? i * stride : i / channels * stride + i % channels);
  }
  // `count` of 1 to 4 elements from i on; the others are 0.
  __device__ Floats<4> load(std::int64_t i, int count) const {
    Floats<4> result{};
    if (vectors && count == 4) {
      const Vec<T, 4> raw = load_raw<4>(data + i);
      for (int k = 0; k < 4; ++k) result[k] = as_number(raw[k]);
    } else {
      for (int k = 0; k < 4; ++k)
        if (k < count) result[k] = as_number(*at(i + k));
    }
    return result;
  }
  __device__ void store(std::int64_t i, int count, const Floats<4>& values) const {
    if (vectors && count == 4) {
      thorax::THORAX_GPU::store<4>(data + i, values);
    } else {
      for (int k = 0; k < 4; ++k)
        if (k < count) *at(i + k) = from_float<T>(values[k]);
    }
  }
};

// p = 1 / (1 + exp(-x)) and 1 - p, each to a few roundings of its own size.
struct SigmoidPair {
  float value, rest;
};
__device__ inline SigmoidPair sigmoid_pair(float x) {
  const float e = expf(-fabsf(x)), large = 1.0f / (1.0f + e), small = e * large;
  return x < 0 ? SigmoidPair{small, large} : SigmoidPair{large, small};
}

// Room for block_reduce of up to three sums.
struct LossSums {
  double warps[3][kLossThreads / 32];
};

// One block: loss = factor * sum of `count` values.
template <class Loss>
__global__ void combine_losses(const double* values, std::int64_t count, double factor,
                               Loss* loss) {
  THORAX_SHARED(LossSums, shared);
  double sum = 0;
  for (std::int64_t i = threadIdx.x; i < count; i += kLossThreads) sum += values[i];
  sum = block_reduce<kLossThreads>(sum, Sum{}, shared.warps[0]);
  if (threadIdx.x == 0) *loss = static_cast<Loss>(factor * sum);
}
inline void mean_of_losses(const Tensor& values, std::int64_t divisor, const Tensor& loss) {
  launch(THORAX_KERNEL(combine_losses<float>), loss.device(), {dim3(1), dim3(kLossThreads)},
         values.device_data<double>(), values.numel(), 1.0 / static_cast<double>(divisor),
         loss.device_data<float>());
}

// Calls fn(logit, label) with values of the two element types.
template <class Fn>
void dispatch_loss(const Tensor& logits, const Tensor& target, const Fn& fn) {
  const auto with_logits = [&](auto logit) {
    if (target.dtype() == DType::u8)
      fn(logit, std::uint8_t{});
    else if (target.dtype() == logits.dtype())
      fn(logit, logit);
    else
      fn(logit, float{});
  };
  dispatch_activation(logits.dtype(), with_logits);
}

}  // namespace THORAX_GPU
}  // namespace thorax
