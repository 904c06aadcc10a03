// Batch normalisation, forward. Training makes three passes over channels or pixels:
//   batch_norm_statistics  reads x once. A block sums x - k and (x - k)^2 over a chunk of pixels, k
//                          = the chunk's own first pixel, so that a mean far from zero costs no
//                          digits: stretches of 32 values in float, added up in float (at most 32
//                          of them), then over the rows of threads. Out come mean and squared
//                          distance of the chunk, in double.
//   batch_norm_merge       merges the chunks in a fixed order (Chan, Golub, LeVeque, "Algorithms
//                          for computing the sample variance", 1983) in double, and writes the map
//                          of each channel in float.
//   batch_norm_map         reads x (and the residual), writes y: normalisation, residual, ReLU. The
//                          last chunk first: the first pass left it in the L2 cache.
// The first pass is not made when the convolution before has summed up its own output (provider
// "cuda/epilogue", kernels/common/channel_parts.h).
// Evaluation computes the maps from the running statistics and makes the last pass only. A thread
// owns a group of N channels, so that its parameters stay in registers.
#include <algorithm>

#include "kernels/batch_norm/batch_norm_cuda.cuh"

namespace thorax {
namespace THORAX_GPU {
namespace batch_norm_detail {
namespace {

template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    batch_norm_statistics(Cut cut, Pixels<const T> x, double* parts) {
  THORAX_SHARED(RowSums<N>, shared);
  const Part part(cut, N, blockIdx.x);
  Floats<N> shift = broadcast<N>(0), sum = shift, squares = shift;
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
  if (threadIdx.y != 0 || !part.active) return;
  // Row 0 starts at the chunk's first pixel.
  const double count = static_cast<double>(part.end - part.first);
  double* to = parts + static_cast<std::int64_t>(blockIdx.x) * 2 * cut.channels + part.channel;
#pragma unroll
  for (int k = 0; k < N; ++k) {
    const double s = static_cast<double>(sum[k]);
    const double m2 = static_cast<double>(squares[k]) - s * s / count;
    to[k] = static_cast<double>(shift[k]) + s / count;
    to[cut.channels + k] = m2 < 0 ? 0.0 : m2;  // a NaN stays one
  }
}

// What a block of a merging kernel shares: one sum per thread.
struct MergeSums {
  double values[kMergeRows][kMergeChannels];
};
// The sum over chunks of value(chunk) for the caller's channel, the same in all rows of threads.
template <class Value>
__device__ double merge(MergeSums& shared, std::int64_t chunks, bool active, const Value& value) {
  double sum = 0;
  if (active)
    for (std::int64_t chunk = threadIdx.y; chunk < chunks; chunk += kMergeRows) sum += value(chunk);
  shared.values[threadIdx.y][threadIdx.x] = sum;
  sum_rows<1>(&shared.values[0][threadIdx.x], kMergeChannels);
  __syncthreads();
  sum = shared.values[0][threadIdx.x];
  __syncthreads();
  return sum;
}

__global__ void __launch_bounds__(kMergeChannels* kMergeRows)
    batch_norm_merge(Cut cut, const double* parts, double epsilon, const float* weight,
                     const float* bias, double* mean, double* variance, Affine map) {
  THORAX_SHARED(MergeSums, shared);
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * kMergeChannels + threadIdx.x;
  const bool active = c < cut.channels;
  const double total = static_cast<double>(cut.pixels);
  const auto pixels = [&](std::int64_t chunk) {
    return static_cast<double>(min(cut.chunk_pixels, cut.pixels - chunk * cut.chunk_pixels));
  };
  const double m = merge(shared, cut.chunks, active, [&](std::int64_t chunk) {
    return pixels(chunk) / total * parts[chunk * 2 * cut.channels + c];
  });
  const double v = merge(shared, cut.chunks, active, [&](std::int64_t chunk) {
    const double* of = parts + chunk * 2 * cut.channels + c;
    const double d = of[0] - m;
    return (of[cut.channels] + pixels(chunk) * d * d) / total;
  });
  if (threadIdx.y != 0 || !active) return;
  mean[c] = m;
  variance[c] = v;
  map.set(c, m, v, epsilon, weight[c], bias[c]);
}

__global__ void batch_norm_affine(std::int64_t channels, const double* mean, const double* variance,
                                  double epsilon, const float* weight, const float* bias,
                                  Affine map) {
  const std::int64_t c = thread_index();
  if (c < channels) map.set(c, mean[c], variance[c], epsilon, weight[c], bias[c]);
}

// Left to itself, ptxas squeezes the narrow one into 32 registers on sm_80 and spills.
template <class T, int N>
__global__ void __launch_bounds__(kThreads, N == 1 ? 4 : 0)
    batch_norm_map(Cut cut, bool relu, Affine map, Pixels<const T> x, Pixels<const T> residual,
                   Pixels<T> y) {
  const Part part(cut, N, gridDim.x - 1 - blockIdx.x);
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

// running = (1 - momentum) * running + momentum * batch, the variance times `unbiased`.
template <class R>
__global__ void batch_norm_running(std::int64_t channels, double momentum, double unbiased,
                                   const double* mean, const double* variance, R* running_mean,
                                   R* running_var) {
  const std::int64_t c = thread_index();
  if (c >= channels) return;
  const auto blend = [&](R value, double fresh) {
    return static_cast<R>((1 - momentum) * static_cast<double>(value) + momentum * fresh);
  };
  running_mean[c] = blend(running_mean[c], mean[c]);
  running_var[c] = blend(running_var[c], unbiased * variance[c]);
}

// Merges chunks of statistics into mean, variance and the map.
void merge_parts(const BatchNormProblem& pr, const Cut& cut, const Tensor& parts,
                 const Tensor& weight, const Tensor& bias, const Tensor& mean,
                 const Tensor& variance, const Affine& map) {
  launch(THORAX_KERNEL(batch_norm_merge), mean.device(),
         {dim3(blocks_for(cut.channels, kMergeChannels)), dim3(kMergeChannels, kMergeRows)}, cut,
         parts.device_data<double>(), pr.epsilon, weight.device_data<float>(),
         bias.device_data<float>(), mean.device_data<double>(), variance.device_data<double>(),
         map);
}

// `given`: statistics of x that somebody else made, or null.
void run(const BatchNormProblem& pr, const Tensor& x, const ChannelParts* given,
         const Tensor& weight, const Tensor& bias, const Tensor& residual, const Tensor& mean,
         const Tensor& variance, const Tensor& y) {
  if (pr.shape.numel() == 0) return;
  const Device device = x.device();
  const Tensor memory = Tensor::empty({3, pr.channels()}, DType::f32, device);
  const Affine map(memory, pr.channels());
  if (!pr.training) make_affine(pr, mean, variance, weight, bias, map);
  if (given != nullptr)
    merge_parts(pr, Cut::of_parts(pr, given->chunk_pixels), given->values, weight, bias, mean,
                variance, map);
  dispatch_activation(pr.dtype, [&](auto tag) {
    using T = decltype(tag);
    with_width<T>(pr.pixels(), pr.channels(), {&x, &residual, &y}, [&](auto width) {
      constexpr int N = decltype(width)::value;
      if (pr.training && given == nullptr) {
        const Cut cut = Cut::for_sums(pr, N);
        const Tensor parts = Tensor::empty({cut.chunks, 2, cut.channels}, DType::f64, device);
        launch(THORAX_KERNEL(batch_norm_statistics<T, N>), device, cut.launch_config(), cut,
               Pixels<const T>(x), parts.device_data<double>());
        merge_parts(pr, cut, parts, weight, bias, mean, variance, map);
      }
      const Cut cut = Cut::for_map(pr, N);
      launch(THORAX_KERNEL(batch_norm_map<T, N>), device, cut.launch_config(), cut, pr.relu, map,
             Pixels<const T>(x), Pixels<const T>(residual), Pixels<T>(y));
    });
  });
}

void forward(const BatchNormProblem& pr, const Tensor& x, const Tensor& weight, const Tensor& bias,
             const Tensor& residual, const Tensor& mean, const Tensor& variance, const Tensor& y) {
  run(pr, x, nullptr, weight, bias, residual, mean, variance, y);
}

void forward_from_parts(const BatchNormProblem& pr, const Tensor& x, const ChannelParts& parts,
                        const Tensor& weight, const Tensor& bias, const Tensor& residual,
                        const Tensor& mean, const Tensor& variance, const Tensor& y) {
  const std::int64_t chunks = (pr.pixels() + parts.chunk_pixels - 1) / parts.chunk_pixels;
  THORAX_CHECK(parts.values.shape() == Shape({chunks, 2, pr.channels()}),
               "[batch_norm] statistics {} in chunks of {} pixels are not those of {}",
               parts.values.shape(), parts.chunk_pixels, pr.to_string());
  run(pr, x, &parts, weight, bias, residual, mean, variance, y);
}

void update_running(const Tensor& mean, const Tensor& variance, std::int64_t count, double momentum,
                    const Tensor& running_mean, const Tensor& running_var) {
  const auto run = [&](auto tag) {
    using R = decltype(tag);
    launch(THORAX_KERNEL(batch_norm_running<R>), mean.device(), one_thread_each(mean.numel()),
           mean.numel(), momentum, unbiasing_factor(count), mean.device_data<double>(),
           variance.device_data<double>(), running_mean.device_data<R>(),
           running_var.device_data<R>());
  };
  running_mean.dtype() == DType::f64 ? run(double{}) : run(float{});
}

int priority(const BatchNormProblem& p) {
  // Chunks and tiles of channels are a grid.
  const bool fits = p.pixels() < (std::int64_t{1} << 31) && p.channels() <= 65535;
  return is_activation_type(p.dtype) && fits ? 10 : -1;
}

}  // namespace

void make_affine(const BatchNormProblem& pr, const Tensor& mean, const Tensor& variance,
                 const Tensor& weight, const Tensor& bias, const Affine& map) {
  launch(THORAX_KERNEL(batch_norm_affine), mean.device(), one_thread_each(pr.channels()),
         pr.channels(), mean.device_data<double>(), variance.device_data<double>(), pr.epsilon,
         weight.device_data<float>(), bias.device_data<float>(), map);
}

THORAX_PROVIDER(batch_norm_cuda, batch_norm_providers(),
                {.name = "cuda",
                 .device = THORAX_GPU_KIND,
                 .priority = priority,
                 .forward = forward,
                 .backward = backward,
                 .update_running = update_running});

// The same with the first pass left to the convolution's epilogue, where that makes statistics
// ("cuda/tiled" and "cuda/gemm1x1" in float32, products that are not cut along their depth).
THORAX_PROVIDER(batch_norm_cuda_epilogue, batch_norm_providers(),
                {.name = "cuda/epilogue",
                 .device = THORAX_GPU_KIND,
                 .priority = [](const BatchNormProblem& p) { return std::min(priority(p), 5); },
                 .forward = forward,
                 .backward = backward,
                 .update_running = update_running,
                 .forward_from_parts = forward_from_parts});

}  // namespace batch_norm_detail
}  // namespace THORAX_GPU
}  // namespace thorax
