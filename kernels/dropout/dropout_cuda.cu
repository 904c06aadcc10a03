// Dropout: one thread a group of 4 floats or 8 halves, for which it draws one or two blocks of four
// Philox words, the same words as on every other device. Two memory accesses an element; the ten
// Philox rounds of a block of words cost about 25 integer operations an element, which hides behind
// them. Groups of 2 or 1 elements (channel slices) draw a whole block each.
#include "engine/runtime/philox.h"
#include "kernels/common/elementwise.cuh"
#include "kernels/common/vec.cuh"
#include "kernels/dropout/dropout.h"

namespace thorax {
namespace THORAX_GPU {
namespace {

struct Pattern {
  std::uint64_t seed, stream, threshold;  // an element whose word is below the threshold is dropped
  float scale;
  const std::int64_t* step;  // null, or what the stream is moved on by, times per_step
  std::uint64_t per_step;
};

template <class T, int N>
__global__ void dropout_kernel(Groups groups, std::int64_t channels, Pattern pattern,
                               Pixels<const T> x, Pixels<T> y) {
  const std::int64_t i = thread_index();
  if (i >= groups.count) return;
  std::int64_t group;
  const std::int64_t pixel = groups.pixel(i, group);
  Floats<N> v = load<N>(x.at(pixel, group * N));
  // N divides the channel count, so that a group never starts within a block of words that it
  // leaves: N = 2 and 1 use a part of one block, N = 4 and 8 whole blocks.
  const std::int64_t first = pixel * channels + group * N;
  std::uint64_t stream = pattern.stream;
  if (pattern.step != nullptr)
    stream += static_cast<std::uint64_t>(*pattern.step) * pattern.per_step;
#pragma unroll
  for (int k = 0; k < N; k += 4) {
    const auto words = philox4x32(pattern.seed, stream, static_cast<std::uint64_t>(first + k) / 4);
#pragma unroll
    for (int j = 0; j < 4 && k + j < N; ++j) {
      // A static index keeps the words in registers.
      std::uint32_t word = words[j];
      if constexpr (N < 4) {
        const int at = static_cast<int>((first + j) % 4);
        word = at == 0 ? words[0] : at == 1 ? words[1] : at == 2 ? words[2] : words[3];
      }
      // A select: a dropped infinity is 0, not NaN.
      v[k + j] = word >= pattern.threshold ? v[k + j] * pattern.scale : 0.0f;
    }
  }
  store(y.at(pixel, group * N), v);
}

void run(const DropoutProblem& pr, const Tensor& x, const Tensor& y) {
  if (pr.shape.numel() == 0) return;
  const Matrix m{&x, &y};
  const Pattern pattern{
      pr.seed,
      pr.stream,
      pr.threshold(),
      static_cast<float>(pr.scale()),
      pr.device_step.defined() ? pr.device_step.device_data<std::int64_t>() : nullptr,
      pr.per_step};
  dispatch_activation(pr.dtype, [&](auto tag) {
    using T = decltype(tag);
    with_width<T>(m.pixels, m.channels, {&x, &y}, [&](auto width) {
      constexpr int N = decltype(width)::value;
      const Groups groups(m.pixels, m.channels, N);
      launch(THORAX_KERNEL(dropout_kernel<T, N>), x.device(), one_thread_each(groups.count), groups,
             m.channels, pattern, Pixels<const T>(x), Pixels<T>(y));
    });
  });
}

}  // namespace

THORAX_PROVIDER(dropout_cuda, dropout_providers(),
                {.name = "cuda",
                 .device = THORAX_GPU_KIND,
                 .priority =
                     [](const DropoutProblem& p) { return is_activation_type(p.dtype) ? 10 : -1; },
                 .run = run});

}  // namespace THORAX_GPU
}  // namespace thorax
