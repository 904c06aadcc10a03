// What the forward and the backward kernels of the provider "cuda" share: how the matrix of pixels
// x channels is cut, and the map of one channel.
#pragma once

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/common/elementwise.cuh"
#include "kernels/common/reduce.cuh"
#include "kernels/common/vec.cuh"

namespace thorax {
namespace THORAX_GPU {
namespace batch_norm_detail {

constexpr int kThreads = 256;
constexpr int kMaxColumns = 32;
// A thread adds this many values to one float before that is added to the sum of its chunk.
constexpr std::int64_t kStretch = 32;
// Aimed at: enough blocks for the largest GPU, not so many that merging their sums takes long.
constexpr std::int64_t kMaxChunks = 1024;
constexpr std::int64_t kMapPixels = 8;  // a thread of an elementwise pass
// Block of the kernels that merge chunks: channels x parts of the chunks.
constexpr int kMergeChannels = 16, kMergeRows = 16;

// A block is `columns` groups of N channels wide and `rows` pixels high; blockIdx.y counts along
// the channels, blockIdx.x chunks of pixels. Neighbouring threads read neighbouring memory.
struct Cut {
  std::int64_t pixels, channels, chunk_pixels, chunks;
  int groups, columns, rows;
  unsigned tiles;

  Cut(const BatchNormProblem& pr, int width) : pixels(pr.pixels()), channels(pr.channels()) {
    groups = static_cast<int>(channels / width);
    tiles = blocks_for(groups, kMaxColumns);
    columns = static_cast<int>(blocks_for(groups, tiles));
    rows = kThreads / columns;
  }
  // Chunks whose sums a pass computes: a whole number of stretches.
  static Cut for_sums(const BatchNormProblem& pr, int width) {
    Cut cut(pr, width);
    const std::int64_t unit = cut.rows * kStretch;
    return cut.with_chunks(unit * ((cut.pixels + unit * kMaxChunks - 1) / (unit * kMaxChunks)));
  }
  // Chunks that somebody else has summed up.
  static Cut of_parts(const BatchNormProblem& pr, std::int64_t chunk_pixels) {
    return Cut(pr, 1).with_chunks(chunk_pixels);
  }
  static Cut for_map(const BatchNormProblem& pr, int width) {
    Cut cut(pr, width);
    return cut.with_chunks(cut.rows * kMapPixels);
  }
  LaunchConfig launch_config() const {
    return {dim3(static_cast<unsigned>(chunks), tiles),
            dim3(static_cast<unsigned>(columns), static_cast<unsigned>(rows))};
  }

 private:
  Cut with_chunks(std::int64_t size) {
    chunk_pixels = size;
    chunks = (pixels + size - 1) / size;
    return *this;
  }
};

// Where the calling thread of a Cut works.
struct Part {
  std::int64_t channel, first, end;  // its pixels: first, first + rows, ... below end
  bool active;
  __device__ Part(const Cut& cut, int width, std::int64_t chunk) {
    const int group = static_cast<int>(blockIdx.y) * cut.columns + static_cast<int>(threadIdx.x);
    active = group < cut.groups;
    channel = static_cast<std::int64_t>(group) * width;
    first = chunk * cut.chunk_pixels + threadIdx.y;
    end = min((chunk + 1) * cut.chunk_pixels, cut.pixels);
  }
};

// Calls body(std::integral_constant<int, count>, p) for pixels p, p + rows, ... (count of them) up
// to `end`: four at a time, or two of 8 halves, so that several loads are on their way at once.
template <int N, class Body>
__device__ inline void for_pixels(std::int64_t p, std::int64_t end, int rows, const Body& body) {
  constexpr int kCount = N > 4 ? 2 : 4;
  for (; p + (kCount - 1) * rows < end; p += kCount * rows)
    body(std::integral_constant<int, kCount>{}, p);
  for (; p < end; p += rows) body(std::integral_constant<int, 1>{}, p);
}

// The same in stretches: after each, fold() is called.
template <int N, class Body, class Fold>
__device__ inline void for_stretches(const Part& part, int rows, const Body& body,
                                     const Fold& fold) {
  for (std::int64_t p = part.first; p < part.end; p += rows * kStretch) {
    for_pixels<N>(p, min(p + rows * kStretch, part.end), rows, body);
    fold();
  }
}

// Two sums per channel over the rows of a block.
template <int N>
struct RowSums {
  float values[2 * kThreads * N];
};
// Adds up a[] and b[] over the block's rows, in one tree; the result is in a and b of row 0.
template <int N>
__device__ inline void add_rows(RowSums<N>& shared, const Cut& cut, Floats<N>& a, Floats<N>& b) {
  const int stride = cut.columns * 2 * N;
  float* column = shared.values + static_cast<int>(threadIdx.x) * 2 * N;
  float* own = column + static_cast<int>(threadIdx.y) * stride;
#pragma unroll
  for (int k = 0; k < N; ++k) {
    own[k] = a[k];
    own[N + k] = b[k];
  }
  sum_rows<2 * N>(column, stride);
  if (threadIdx.y == 0) {
#pragma unroll
    for (int k = 0; k < N; ++k) {
      a[k] = own[k];
      b[k] = own[N + k];
    }
  }
}

// y before the residual and ReLU = (x - center) * scale + shift. The digits of the mean that
// `center` cannot hold go into the shift. Three rows of floats, `channels` each.
struct Affine {
  float* center;
  float* scale;
  float* shift;
  Affine(const Tensor& memory, std::int64_t channels)
      : center(memory.device_data<float>()), scale(center + channels), shift(scale + channels) {}
  __device__ void set(std::int64_t c, double mean, double variance, double epsilon, float weight,
                      float bias) const {
    const double exact = static_cast<double>(weight) / sqrt(variance + epsilon);
    center[c] = static_cast<float>(mean);
    scale[c] = static_cast<float>(exact);
    shift[c] = static_cast<float>(static_cast<double>(bias) -
                                  (mean - static_cast<double>(center[c])) * exact);
  }
};
template <int N>
struct AffineOf {
  Floats<N> center, scale, shift;
  __device__ AffineOf(const Affine& map, std::int64_t channel) {
#pragma unroll
    for (int k = 0; k < N; ++k) {
      center[k] = map.center[channel + k];
      scale[k] = map.scale[channel + k];
      shift[k] = map.shift[channel + k];
    }
  }
  // The same bits in the forward and the backward pass.
  __device__ float operator()(float centered, int k) const {
    return fmaf(centered, scale[k], shift[k]);
  }
};

// Computes the map from mean and variance; one small kernel.
void make_affine(const BatchNormProblem& pr, const Tensor& mean, const Tensor& variance,
                 const Tensor& weight, const Tensor& bias, const Affine& map);

void backward(const BatchNormProblem& pr, const Tensor& dy, const Tensor& x, const Tensor& y,
              const Tensor& weight, const Tensor& bias, const Tensor& mean, const Tensor& variance,
              const Tensor& dx, const Tensor& dresidual, const Tensor& dweight,
              const Tensor& dbias);

}  // namespace batch_norm_detail
}  // namespace THORAX_GPU
}  // namespace thorax
