// What the forward and the backward kernels of the provider "cuda" share: how the matrix of pixels
// x channels is cut, and the map of one channel.
#pragma once

#include <algorithm>

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/common/elementwise.cuh"
#include "kernels/common/last_block.cuh"
#include "kernels/common/reduce.cuh"
#include "kernels/common/vec.cuh"

namespace thorax {
namespace THORAX_GPU {
namespace batch_norm_detail {

constexpr int kThreads = 256;
constexpr int kSmallThreads = 512;  // of the kernels that do all in one block
constexpr int kMaxColumns = 32;
// A thread adds this many values to one float before that is added to the sum of its chunk.
constexpr std::int64_t kStretch = 32;
// Passes that sum aim at this many blocks, enough for the largest GPU, as long as a thread has at
// least kLeastPixels.
constexpr std::int64_t kSumBlocks = 1056, kLeastPixels = 8;
constexpr std::int64_t kMapPixels = 8;     // a thread of an elementwise pass
constexpr std::int64_t kSmallPixels = 16;  // at most, a thread of the kernels of one block
// Block of the kernel that merges chunks that a convolution has left: channels x rows.
constexpr int kMergeChannels = 16, kMergeRows = 16;

// A block is `columns` groups of N channels wide and `rows` pixels high; blockIdx.y counts along
// the channels, blockIdx.x chunks of pixels. Neighbouring threads read neighbouring memory.
struct Cut {
  std::int64_t pixels, channels, chunk_pixels, chunks;
  int groups, columns, rows;
  unsigned tiles;

  Cut(const BatchNormProblem& pr, int width, int max_columns = kMaxColumns, int threads = kThreads)
      : pixels(pr.pixels()), channels(pr.channels()) {
    groups = static_cast<int>(channels / width);
    tiles = blocks_for(groups, max_columns);
    columns = static_cast<int>(blocks_for(groups, tiles));
    rows = threads / columns;
  }
  // Chunks whose sums a pass computes. A block reads at most a line of the cache (128 bytes) of
  // each pixel, so that few channels are left to merge for the block that does so.
  static Cut for_sums(const BatchNormProblem& pr, int width) {
    Cut cut(pr, width, columns_of(pr, width, 128));
    const std::int64_t blocks = cut.rows * std::max<std::int64_t>(1, kSumBlocks / cut.tiles);
    const std::int64_t wanted = (cut.pixels + blocks - 1) / blocks;
    return cut.with_chunks(cut.rows * std::clamp(wanted, kLeastPixels, kStretch * kStretch));
  }
  // One chunk: all pixels. A block is a sector (32 bytes) wide: as many blocks as there can be.
  static Cut for_one_block(const BatchNormProblem& pr, int width) {
    Cut cut(pr, width, columns_of(pr, width, 32), kSmallThreads);
    return cut.with_chunks(std::max<std::int64_t>(cut.pixels, 1));
  }
  // Whether one block may walk over all pixels.
  bool small() const { return pixels <= rows * kSmallPixels; }
  // Chunks that somebody else has summed up.
  static Cut of_parts(const BatchNormProblem& pr, std::int64_t chunk_pixels) {
    return Cut(pr, 1, kMergeChannels).with_chunks(chunk_pixels);
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
  static int columns_of(const BatchNormProblem& pr, int width, int bytes) {
    return std::max(1, bytes / (width * static_cast<int>(size_of(pr.dtype))));
  }
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

// Two sums per channel over the rows of a block of kBlock threads.
template <int N, int kBlock = kThreads>
struct RowSums {
  float values[2 * kBlock * N];
};
// Adds up a[] and b[] over the block's rows, in one tree; the result is in a and b of row 0, and
// row_sum() after a barrier.
template <int N, int kBlock>
__device__ inline void add_rows(RowSums<N, kBlock>& shared, const Cut& cut, Floats<N>& a,
                                Floats<N>& b) {
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
template <int N, int kBlock>
__device__ inline float row_sum(const RowSums<N, kBlock>& shared, int channel, int which) {
  return shared.values[channel / N * 2 * N + which * N + channel % N];
}

// What the kernels share whose last block merges.
template <int N>
struct MergingSums {
  RowSums<N> sums;
  int last;  // of is_last_block
};

// The channels of a block, counted from its first: a thread each, the first ones of the block.
struct BlockChannels {
  int thread, width;
  std::int64_t first;
  __device__ BlockChannels(const Cut& cut, int group_width)
      : thread(static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x)),
        first(static_cast<std::int64_t>(blockIdx.y) * cut.columns * group_width) {
    width = static_cast<int>(
        min(static_cast<std::int64_t>(cut.columns) * group_width, cut.channels - first));
  }
  __device__ bool active() const { return thread < width; }
  __device__ std::int64_t channel() const { return first + thread; }
};

// A sum whose error does not grow with the number of its terms (Kahan, "Further remarks on reducing
// truncation errors", 1965): float64 would be exact, too, but Turing has 1/32 of its units.
struct CompensatedSum {
  float value = 0, excess = 0;
  __device__ void add(float term) {
    const float corrected = term - excess, sum = value + corrected;
    excess = (sum - value) - corrected;
    value = sum;
  }
};

// Two sums over all chunks of every channel of the block, in a fixed order; the threads of `own`
// that are active get theirs. terms(channel, chunk, a, b) gives those of a chunk. `scratch`: two
// floats for each thread.
template <class Terms>
__device__ inline void merge_chunks(float* scratch, const BlockChannels& own, std::int64_t chunks,
                                    const Terms& terms, float& first, float& second) {
  const int threads = static_cast<int>(blockDim.x * blockDim.y), rows = threads / own.width;
  const int row = own.thread / own.width;
  CompensatedSum a, b;
  if (row < rows) {
    const std::int64_t channel = own.first + own.thread % own.width;
    for (std::int64_t chunk = row; chunk < chunks; chunk += rows) {
      float x, y;
      terms(channel, chunk, x, y);
      a.add(x);
      b.add(y);
    }
  }
  scratch[own.thread] = a.value;
  scratch[threads + own.thread] = b.value;
  __syncthreads();
  if (!own.active()) return;
  a = {};
  b = {};
  for (int r = 0; r < rows; ++r) {
    a.add(scratch[r * own.width + own.thread]);
    b.add(scratch[threads + r * own.width + own.thread]);
  }
  first = a.value;
  second = b.value;
}

// y before the residual and ReLU = (x - center) * scale + shift. The digits of the mean that
// `center` cannot hold go into the shift. Three rows of floats, `channels` each; the forward pass
// leaves them for the backward pass.
struct Affine {
  float* center;
  float* scale;
  float* shift;
  explicit Affine(const Tensor& memory)
      : center(memory.device_data<float>()),
        scale(center + memory.size(1)),
        shift(scale + memory.size(1)) {}
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
void make_affine(const BatchNormProblem& pr, const BatchNormStatistics& statistics,
                 const Tensor& weight, const Tensor& bias, const Affine& map);

void backward(const BatchNormProblem& pr, const Tensor& dy, const Tensor& x, const Tensor& y,
              const Tensor& weight, const Tensor& bias, const BatchNormStatistics& statistics,
              const Tensor& dx, const Tensor& dresidual, const Tensor& dweight,
              const Tensor& dbias);

}  // namespace batch_norm_detail
}  // namespace THORAX_GPU
}  // namespace thorax
