// Batch normalisation, forward. Training makes two passes over the map:
//   batch_norm_statistics  reads x once. A block sums over a chunk of pixels: stretches of 32
//   values
//                          in float, added up in float (at most 32 of them), then over the rows of
//                          threads. The last block of each column of blocks merges the chunks and
//                          writes statistics, running statistics and the map of each channel.
//   batch_norm_map         reads x (and the residual), writes y: normalisation, residual, ReLU. The
//                          last chunk first: the first pass left it in the L2 cache.
// Small maps take one launch instead, batch_norm_small. The first pass is not made when the
// convolution before has summed up its own output (provider "cuda/epilogue",
// kernels/common/channel_parts.h); batch_norm_merge merges what that has left.
// Evaluation computes the maps from the running statistics and makes the last pass only. A thread
// owns a group of N channels, so that its parameters stay in registers.
#include <algorithm>

#include "kernels/batch_norm/batch_norm_cuda.cuh"

namespace thorax {
namespace THORAX_GPU {
namespace batch_norm_detail {
namespace {

// What is made of a channel's mean and variance, and where it goes.
struct Channels {
  double *mean, *variance;
  Affine map;
  double epsilon;
  const float *weight, *bias;
  void *running_mean, *running_var;  // f64 if `wide`, else f32; nullptr: none
  bool wide;
  double momentum, unbiased;

  Channels(const BatchNormProblem& pr, const BatchNormStatistics& s, const Tensor& w,
           const Tensor& b, const Affine& to)
      : mean(s.mean.device_data<double>()),
        variance(s.variance.device_data<double>()),
        map(to),
        epsilon(pr.epsilon),
        weight(w.device_data<float>()),
        bias(b.device_data<float>()) {
    const bool running = s.running_mean.defined();
    running_mean = running ? s.running_mean.raw() : nullptr;
    running_var = running ? s.running_var.raw() : nullptr;
    wide = running && s.running_mean.dtype() == DType::f64;
    momentum = s.momentum;
    unbiased = running ? unbiasing_factor(pr.pixels()) : 1;
  }
  template <class R>
  __device__ void blend(void* running, std::int64_t c, double fresh) const {
    R& value = static_cast<R*>(running)[c];
    value = static_cast<R>((1 - momentum) * static_cast<double>(value) + momentum * fresh);
  }
  __device__ void set(std::int64_t c, double m, double v) const {
    mean[c] = m;
    variance[c] = v;
    map.set(c, m, v, epsilon, weight[c], bias[c]);
    if (running_mean == nullptr) return;
    if (wide) {
      blend<double>(running_mean, c, m);
      blend<double>(running_var, c, unbiased * v);
    } else {
      blend<float>(running_mean, c, m);
      blend<float>(running_var, c, unbiased * v);
    }
  }
  // From the sums of d and d^2 over all pixels, d = x - pivot.
  __device__ void set_from(std::int64_t c, double pivot, float sum, float squares,
                           std::int64_t pixels) const {
    const double n = static_cast<double>(pixels), s = static_cast<double>(sum);
    const double m2 = static_cast<double>(squares) - s * s / n;
    set(c, pivot + s / n, m2 < 0 ? 0.0 : m2 / n);  // a NaN stays one
  }
};

// The sums of x - shift and (x - shift)^2 over the pixels of a block, in row 0 and in `shared`;
// shift = its first pixel, so that a mean far from zero costs no digits.
template <class T, int N, int kBlock>
__device__ void sum_pixels(RowSums<N, kBlock>& shared, const Cut& cut, const Part& part,
                           Pixels<const T> x, Floats<N>& shift, Floats<N>& sum,
                           Floats<N>& squares) {
  shift = broadcast<N>(0);
  sum = squares = shift;
  if (part.active) {
    shift = load<N>(x.at(blockIdx.x * cut.chunk_pixels, part.channel));
    Floats<N> a = broadcast<N>(0), b = a;
    for_stretches<N>(
        part, cut.rows,
        [&](auto count, std::int64_t p) {
          Floats<N> v[decltype(count)::value];
#pragma unroll
          for (int r = 0; r < decltype(count)::value; ++r)
            v[r] = load<N>(x.at(p + r * cut.rows, part.channel));
#pragma unroll
          for (int r = 0; r < decltype(count)::value; ++r) {
#pragma unroll
            for (int k = 0; k < N; ++k) {
              const float d = v[r][k] - shift[k];
              a[k] += d;
              b[k] = fmaf(d, d, b[k]);
            }
          }
        },
        [&] {
#pragma unroll
          for (int k = 0; k < N; ++k) {
            sum[k] += a[k];
            squares[k] += b[k];
            a[k] = b[k] = 0;
          }
        });
  }
  add_rows(shared, cut, sum, squares);
}

// Mean and variance of the block's channels from all chunks (kernels/common/channel_parts.h), after
// Chan, Golub, LeVeque, "Algorithms for computing the sample variance", 1983: with d = the chunk's
// mean - that of the first one, the sums over all pixels are those of n d and of m2 + n d^2.
__device__ void merge_statistics(float* scratch, const Cut& cut, const BlockChannels& own,
                                 const float* parts, const Channels& to) {
  const std::int64_t row = cut.channels;
  const auto at = [&](std::int64_t channel, std::int64_t chunk) {
    return parts + chunk * 3 * row + channel;
  };
  float sum = 0, squares = 0;
  merge_chunks(
      scratch, own, cut.chunks,
      [&](std::int64_t channel, std::int64_t chunk, float& a, float& b) {
        const float *of = at(channel, chunk), *first = at(channel, 0);
        const float d = (__ldcg(of) - __ldcg(first)) + (__ldcg(of + row) - __ldcg(first + row));
        a = static_cast<float>(min(cut.chunk_pixels, cut.pixels - chunk * cut.chunk_pixels)) * d;
        b = fmaf(a, d, __ldcg(of + 2 * row));
      },
      sum, squares);
  if (!own.active()) return;
  const std::int64_t c = own.channel();
  const float* first = at(c, 0);
  const double pivot =
      static_cast<double>(__ldcg(first)) + static_cast<double>(__ldcg(first + row));
  to.set_from(c, pivot, sum, squares, cut.pixels);
}

// Left to itself, ptxas squeezes four floats into 48 registers on sm_80 and spills.
template <class T, int N>
__global__ void __launch_bounds__(kThreads, N == 4 ? 4 : 0)
    batch_norm_statistics(Cut cut, Pixels<const T> x, float* parts, unsigned* arrivals,
                          Channels to) {
  THORAX_SHARED(MergingSums<N>, shared);
  const Part part(cut, N, blockIdx.x);
  Floats<N> shift, sum, squares;
  sum_pixels<T>(shared.sums, cut, part, x, shift, sum, squares);
  if (threadIdx.y == 0 && part.active) {
    // Row 0 starts at the chunk's first pixel.
    const float count = static_cast<float>(part.end - part.first);
    float* of = parts + static_cast<std::int64_t>(blockIdx.x) * 3 * cut.channels + part.channel;
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const float offset = sum[k] / count, m2 = fmaf(-sum[k], offset, squares[k]);
      of[k] = shift[k];
      of[cut.channels + k] = offset;
      of[2 * cut.channels + k] = m2 < 0 ? 0.0f : m2;  // a NaN stays one
    }
  }
  if (!is_last_block(shared.last, arrivals + blockIdx.y, gridDim.x)) return;
  merge_statistics(shared.sums.values, cut, BlockChannels(cut, N), parts, to);
}

// The same for chunks that a convolution has left.
__global__ void __launch_bounds__(kMergeChannels* kMergeRows)
    batch_norm_merge(Cut cut, const float* parts, Channels to) {
  THORAX_SHARED(RowSums<1>, shared);
  merge_statistics(shared.values, cut, BlockChannels(cut, 1), parts, to);
}

__global__ void batch_norm_affine(std::int64_t channels, const double* mean, const double* variance,
                                  double epsilon, const float* weight, const float* bias,
                                  Affine map) {
  const std::int64_t c = thread_index();
  if (c < channels) map.set(c, mean[c], variance[c], epsilon, weight[c], bias[c]);
}

// y of the thread's pixels.
template <class T, int N>
__device__ void map_pixels(const Cut& cut, const Part& part, bool relu, const Affine& map,
                           Pixels<const T> x, Pixels<const T> residual, Pixels<T> y) {
  if (!part.active) return;
  const AffineOf<N> affine(map, part.channel);
  for_pixels<N>(part.first, part.end, cut.rows, [&](auto count, std::int64_t p) {
    Floats<N> v[decltype(count)::value];
#pragma unroll
    for (int r = 0; r < decltype(count)::value; ++r)
      v[r] = load<N>(x.at(p + r * cut.rows, part.channel));
#pragma unroll
    for (int r = 0; r < decltype(count)::value; ++r) {
#pragma unroll
      for (int k = 0; k < N; ++k) v[r][k] = affine(v[r][k] - affine.center[k], k);
    }
    if (residual.data != nullptr) {
      Floats<N> added[decltype(count)::value];
#pragma unroll
      for (int r = 0; r < decltype(count)::value; ++r)
        added[r] = load<N>(residual.at(p + r * cut.rows, part.channel));
#pragma unroll
      for (int r = 0; r < decltype(count)::value; ++r) {
#pragma unroll
        for (int k = 0; k < N; ++k) v[r][k] += added[r][k];
      }
    }
#pragma unroll
    for (int r = 0; r < decltype(count)::value; ++r) {
      if (relu) {
        // A NaN is not below zero: it stays.
#pragma unroll
        for (int k = 0; k < N; ++k) v[r][k] = v[r][k] <= 0 ? 0.0f : v[r][k];
      }
      store(y.at(p + r * cut.rows, part.channel), v[r]);
    }
  });
}

// Left to itself, ptxas squeezes the narrow one into 32 registers on sm_80 and spills.
template <class T, int N>
__global__ void __launch_bounds__(kThreads, N == 1 ? 4 : 0)
    batch_norm_map(Cut cut, bool relu, Affine map, Pixels<const T> x, Pixels<const T> residual,
                   Pixels<T> y) {
  map_pixels<T, N>(cut, Part(cut, N, gridDim.x - 1 - blockIdx.x), relu, map, x, residual, y);
}

// All of training for a map so small that one block may walk over all pixels of its channels: the
// second pass finds them in the cache.
template <class T, int N>
__global__ void __launch_bounds__(kSmallThreads)
    batch_norm_small(Cut cut, bool relu, Pixels<const T> x, Pixels<const T> residual, Pixels<T> y,
                     Channels to) {
  using Sums = RowSums<N, kSmallThreads>;
  THORAX_SHARED(Sums, shared);
  const Part part(cut, N, 0);
  Floats<N> shift, sum, squares;
  sum_pixels<T>(shared, cut, part, x, shift, sum, squares);
  __syncthreads();
  const BlockChannels own(cut, N);
  if (own.active())
    to.set_from(own.channel(), static_cast<double>(to_float(*x.at(0, own.channel()))),
                row_sum(shared, own.thread, 0), row_sum(shared, own.thread, 1), cut.pixels);
  __syncthreads();
  map_pixels<T, N>(cut, part, relu, to.map, x, residual, y);
}

// The coefficients' memory: what the statistics bring, else new.
Tensor coefficients_of(const BatchNormProblem& pr, const BatchNormStatistics& statistics) {
  return statistics.coefficients.defined()
             ? statistics.coefficients
             : Tensor::empty({3, pr.channels()}, DType::f32, statistics.mean.device());
}

// `given`: statistics of x that somebody else made, or null.
void run(const BatchNormProblem& pr, const Tensor& x, const ChannelParts* given,
         const Tensor& weight, const Tensor& bias, const Tensor& residual,
         const BatchNormStatistics& statistics, const Tensor& y) {
  if (pr.shape.numel() == 0) return;
  const Device device = x.device();
  const Tensor memory = coefficients_of(pr, statistics);
  const Affine map(memory);
  const Channels channels(pr, statistics, weight, bias, map);
  if (!pr.training) make_affine(pr, statistics, weight, bias, map);
  if (given != nullptr) {
    const Cut cut = Cut::of_parts(pr, given->chunk_pixels);
    launch(THORAX_KERNEL(batch_norm_merge), device,
           {dim3(1, cut.tiles),
            dim3(static_cast<unsigned>(cut.columns), static_cast<unsigned>(cut.rows))},
           cut, given->values.device_data<float>(), channels);
  }
  dispatch_activation(pr.dtype, [&](auto tag) {
    using T = decltype(tag);
    with_width<T>(pr.pixels(), pr.channels(), {&x, &residual, &y}, [&](auto width) {
      constexpr int N = decltype(width)::value;
      const Pixels<const T> in(x), added(residual);
      if (pr.training && given == nullptr) {
        const Cut whole = Cut::for_one_block(pr, N);
        if (whole.small()) {
          launch(THORAX_KERNEL(batch_norm_small<T, N>), device, whole.launch_config(), whole,
                 pr.relu, in, added, Pixels<T>(y), channels);
          return;
        }
        const Cut cut = Cut::for_sums(pr, N);
        const Tensor parts = Tensor::empty({cut.chunks, 3, cut.channels}, DType::f32, device);
        launch(THORAX_KERNEL(batch_norm_statistics<T, N>), device, cut.launch_config(), cut, in,
               parts.device_data<float>(), arrival_counters(device, cut.tiles), channels);
      }
      const Cut cut = Cut::for_map(pr, N);
      launch(THORAX_KERNEL(batch_norm_map<T, N>), device, cut.launch_config(), cut, pr.relu, map,
             in, added, Pixels<T>(y));
    });
  });
}

void forward(const BatchNormProblem& pr, const Tensor& x, const Tensor& weight, const Tensor& bias,
             const Tensor& residual, const BatchNormStatistics& statistics, const Tensor& y) {
  run(pr, x, nullptr, weight, bias, residual, statistics, y);
}

void forward_from_parts(const BatchNormProblem& pr, const Tensor& x, const ChannelParts& parts,
                        const Tensor& weight, const Tensor& bias, const Tensor& residual,
                        const BatchNormStatistics& statistics, const Tensor& y) {
  const std::int64_t chunks = (pr.pixels() + parts.chunk_pixels - 1) / parts.chunk_pixels;
  THORAX_CHECK(parts.values.shape() == Shape({chunks, 3, pr.channels()}),
               "[batch_norm] statistics {} in chunks of {} pixels are not those of {}",
               parts.values.shape(), parts.chunk_pixels, pr.to_string());
  run(pr, x, &parts, weight, bias, residual, statistics, y);
}

int priority(const BatchNormProblem& p) {
  // Chunks and tiles of channels are a grid.
  const bool fits = p.pixels() < (std::int64_t{1} << 31) && p.channels() <= 65535;
  return is_activation_type(p.dtype) && fits ? 10 : -1;
}

}  // namespace

void make_affine(const BatchNormProblem& pr, const BatchNormStatistics& statistics,
                 const Tensor& weight, const Tensor& bias, const Affine& map) {
  launch(THORAX_KERNEL(batch_norm_affine), weight.device(), one_thread_each(pr.channels()),
         pr.channels(), statistics.mean.device_data<double>(),
         statistics.variance.device_data<double>(), pr.epsilon, weight.device_data<float>(),
         bias.device_data<float>(), map);
}

THORAX_PROVIDER(batch_norm_cuda, batch_norm_providers(),
                {.name = "cuda",
                 .device = THORAX_GPU_KIND,
                 .priority = priority,
                 .forward = forward,
                 .backward = backward});

// The same with the first pass left to the convolution's epilogue, where that makes statistics
// ("cuda/tiled" and "cuda/gemm1x1" in float32, products that are not cut along their depth).
THORAX_PROVIDER(batch_norm_cuda_epilogue, batch_norm_providers(),
                {.name = "cuda/epilogue",
                 .device = THORAX_GPU_KIND,
                 .priority = [](const BatchNormProblem& p) { return std::min(priority(p), 5); },
                 .forward = forward,
                 .backward = backward,
                 .forward_from_parts = forward_from_parts});

}  // namespace batch_norm_detail
}  // namespace THORAX_GPU
}  // namespace thorax
