// The small passes around a product: masking a gradient, transposing a filter, the
// bias gradient, adding the parts of a split sum.
#include "kernels/common/passes.cuh"

#include "kernels/common/elementwise.cuh"
#include "kernels/common/vec.cuh"

namespace thorax {
namespace THORAX_GPU {
namespace passes {
namespace {

constexpr int kThreads = 256;

// One thread per N channels of a pixel.
template <class T, int N>
__global__ void mask_by_result(const T* dy, std::int64_t dy_pixel, const T* y, std::int64_t y_pixel,
                               T* to, std::int64_t groups, std::int64_t count) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= count) return;
  const std::int64_t pixel = i / groups, channel = i % groups * N;
  Vec<T, N> gradient = load_raw<N>(dy + pixel * dy_pixel + channel);
  const Vec<T, N> result = load_raw<N>(y + pixel * y_pixel + channel);
#pragma unroll
  for (int c = 0; c < N; ++c)
    if (to_float(result[c]) <= 0) gradient[c] = from_float<T>(0.0f);
  store_raw<N>(to + i * N, gradient);
}

// One 32 x 32 tile of outputs x channels of one tap of one group, turned in shared memory: both
// sides go along memory.
template <class T>
struct Turn {
  T values[32][33];
};
template <class T>
__global__ void transpose_filter(const T* from, T* to, int outputs, int channels, int taps) {
  THORAX_SHARED(Turn<T>, tile);
  const int tap = static_cast<int>(blockIdx.z) % taps, group = static_cast<int>(blockIdx.z) / taps;
  const int k0 = static_cast<int>(blockIdx.x) * 32, c0 = static_cast<int>(blockIdx.y) * 32;
  const std::int64_t base = static_cast<std::int64_t>(group) * outputs * taps * channels;
  const int tx = static_cast<int>(threadIdx.x), ty = static_cast<int>(threadIdx.y);
  for (int k = ty; k < 32; k += 8)
    if (k0 + k < outputs && c0 + tx < channels)
      tile.values[k][tx] =
          from[base + (static_cast<std::int64_t>(k0 + k) * taps + tap) * channels + c0 + tx];
  __syncthreads();
  for (int c = ty; c < 32; c += 8)
    if (c0 + c < channels && k0 + tx < outputs)
      to[base + (static_cast<std::int64_t>(c0 + c) * taps + tap) * outputs + k0 + tx] =
          tile.values[tx][c];
}

// Part b, channel k: the sum of dy[m, k] over pixels m of [b * span, (b + 1) * span). A block has
// 32 channels x 8 threads that take every eighth pixel.
struct ChannelSums {
  float values[8][32];
};
template <class T>
__global__ void sum_pixels(const T* dy, std::int64_t dy_pixel, std::int64_t pixels,
                           std::int64_t span, int channels, float* parts) {
  THORAX_SHARED(ChannelSums, sums);
  const int k = static_cast<int>(blockIdx.y * 32 + threadIdx.x);
  const std::int64_t first = blockIdx.x * span;
  float sum = 0;
  if (k < channels)
    for (std::int64_t m = first + threadIdx.y; m < min(pixels, first + span); m += 8)
      sum += to_float(dy[m * dy_pixel + k]);
  sums.values[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || k >= channels) return;
  for (int i = 1; i < 8; ++i) sum += sums.values[i][threadIdx.x];
  parts[static_cast<std::int64_t>(blockIdx.x) * channels + k] = sum;
}

__global__ void add_parts(const float* from, std::int64_t parts, std::int64_t count, float* to) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= count) return;
  float sum = 0;
  for (std::int64_t part = 0; part < parts; ++part) sum += from[part * count + i];
  to[i] = sum;
}

template <class T, int N>
void launch_mask(const Tensor& dy, const Tensor& y, const Tensor& to) {
  const std::int64_t count = dy.numel() / N;
  launch(THORAX_KERNEL(mask_by_result<T, N>), dy.device(),
         {dim3(blocks_for(count, kThreads)), dim3(kThreads)}, dy.device_data<T>(),
         dy.pixel_stride(), y.device_data<T>(), y.pixel_stride(), to.device_data<T>(),
         dy.channels() / N, count);
}

}  // namespace

bool fits(const gemm::ConvShape& s) {
  constexpr std::int64_t kMost = std::int64_t{1} << 30, kMostBlocks = 65535;
  return s.pixels() < kMost && s.out_pixels() < kMost &&
         s.taps() * std::max(s.channels, s.out_channels) < std::min(kMost, 32 * kMostBlocks) &&
         s.groups * s.taps() <= kMostBlocks;
}

Tensor masked_gradient(const Tensor& dy, const Tensor& y) {
  const Tensor to = Tensor::empty(dy.shape(), dy.dtype(), dy.device());
  dispatch_activation(dy.dtype(), [&](auto tag) {
    using T = decltype(tag);
    constexpr int kWide = 16 / static_cast<int>(sizeof(T));
    bool wide = dy.channels() % kWide == 0;
    for (const Tensor* t : {&dy, &y})
      wide = wide && t->pixel_stride() % kWide == 0 &&
             reinterpret_cast<std::uintptr_t>(t->raw()) % 16 == 0;
    wide ? launch_mask<T, kWide>(dy, y, to) : launch_mask<T, 1>(dy, y, to);
  });
  return to;
}

Tensor transposed_filter(const Tensor& w, std::int64_t groups, std::int64_t outputs,
                         std::int64_t taps, std::int64_t channels) {
  const Tensor to = Tensor::empty({groups * channels, taps, outputs}, w.dtype(), w.device());
  dispatch_activation(w.dtype(), [&](auto tag) {
    using T = decltype(tag);
    launch(THORAX_KERNEL(transpose_filter<T>), w.device(),
           {dim3(blocks_for(outputs, 32), blocks_for(channels, 32),
                 static_cast<unsigned>(taps * groups)),
            dim3(32, 8)},
           w.device_data<T>(), to.device_data<T>(), static_cast<int>(outputs),
           static_cast<int>(channels), static_cast<int>(taps));
  });
  return to;
}

void bias_gradient(const Tensor& dy, const Tensor& dbias) {
  constexpr std::int64_t kMostParts = 256, kLeastPixels = 256;
  const std::int64_t pixels = dy.pixels(), channels = dy.channels();
  const std::int64_t span = std::max<std::int64_t>(kLeastPixels, blocks_for(pixels, kMostParts));
  const std::int64_t parts = blocks_for(pixels, span);
  const Tensor sums = Tensor::empty({parts, channels}, DType::f32, dy.device());
  dispatch_activation(dy.dtype(), [&](auto tag) {
    using T = decltype(tag);
    launch(THORAX_KERNEL(sum_pixels<T>), dy.device(),
           {dim3(static_cast<unsigned>(parts), blocks_for(channels, 32)), dim3(32, 8)},
           dy.device_data<T>(), dy.pixel_stride(), pixels, span, static_cast<int>(channels),
           sums.device_data<float>());
  });
  sum_parts(sums, dbias);
}

void sum_parts(const Tensor& from, const Tensor& to) {
  launch(THORAX_KERNEL(add_parts), to.device(),
         {dim3(blocks_for(to.numel(), kThreads)), dim3(kThreads)}, from.device_data<float>(),
         from.size(0), to.numel(), to.device_data<float>());
}

std::int64_t parts_for(std::int64_t tiles, std::int64_t depth, std::int64_t least,
                       std::int64_t result, std::int64_t most, Device device) {
  constexpr std::int64_t kMostFloats = std::int64_t{1} << 24;
  const std::int64_t wanted =
      blocks_for(4 * std::int64_t{device_info(device).multiprocessors}, tiles);
  return std::max<std::int64_t>(1, std::min({wanted, depth / least, kMostFloats / result, most}));
}

}  // namespace passes
}  // namespace THORAX_GPU
}  // namespace thorax
