// Convolution on a GPU for layers that are narrow on one side, float32: few input channels (the
// first layer: 1 -> 32, or 3 -> 64 with stride 2), or one output channel (the last: 1 x 1, 32 ->
// 1).
//
// A tile of conv2d_cuda_tiled.cu would be mostly padding here: 9 columns in a tile of 64. These
// layers move more bytes than they compute with, so the aim is to touch each byte of the wide side
// once:
//
//   few inputs, forward          block = 128 pixels: the patches under them go to shared memory
//   once
//                                ([r,s,c][pixel], 128 times 9 to 64 floats), then 32 k at a time
//                                from there; a thread makes 4 pixels x 4 k
//   few inputs, filter gradient  thread = one k and all of (r,s,c), in registers; a block's 8 warps
//   take
//                                turns over pixels, lanes are neighbours in k. A column of ones
//                                beside the patch makes dbias in the same pass over dy
//   one output, forward          8 lanes per pixel share its channels, then add up by shuffles
//   one output, data gradient    thread = 1 to 4 channels of a pixel of x
//   one output, filter gradient  thread = one tap and channel over pixels, as sums of columns are
//   made
//
// Sums over pixels are made in parts of a size that depends on the problem alone, added in order.
// The data gradient to few inputs is conv2d_cuda_tiled.cu's: nobody asks for an image's gradient
// often.
#include "kernels/common/gemm_launch.cuh"
#include "kernels/common/gemm_tile.cuh"
#include "kernels/common/gpu_gemm.cuh"
#include "kernels/conv2d/conv_shape.h"

namespace thorax {
namespace THORAX_GPU {
namespace {

constexpr int kThreads = 256;
constexpr int kMostTaps = 63;  // (r, s, c) of a filter with few inputs

struct Geometry {
  int batch, height, width, channels, out_height, out_width, outputs;
  int kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
  explicit Geometry(const Conv2dProblem& p)
      : batch(static_cast<int>(p.batch)),
        height(static_cast<int>(p.height)),
        width(static_cast<int>(p.width)),
        channels(static_cast<int>(p.in_channels)),
        out_height(static_cast<int>(p.out_height())),
        out_width(static_cast<int>(p.out_width())),
        outputs(static_cast<int>(p.out_channels)),
        kernel_h(static_cast<int>(p.kernel_h)),
        kernel_w(static_cast<int>(p.kernel_w)),
        stride_h(static_cast<int>(p.stride_h)),
        stride_w(static_cast<int>(p.stride_w)),
        pad_h(static_cast<int>(p.pad_h)),
        pad_w(static_cast<int>(p.pad_w)),
        dilation_h(static_cast<int>(p.dilation_h)),
        dilation_w(static_cast<int>(p.dilation_w)) {}
  __host__ __device__ int taps() const { return kernel_h * kernel_w * channels; }
  __host__ __device__ int pixels() const { return batch * out_height * out_width; }
};

// The input under an output pixel: row and column of tap (0, 0), and the image's first pixel.
struct Origin {
  int h, w, image;
  bool valid;
  __device__ Origin(const Geometry& g, int pixel) {
    const int q = pixel % g.out_width, rest = pixel / g.out_width;
    h = rest % g.out_height * g.stride_h - g.pad_h;
    w = q * g.stride_w - g.pad_w;
    image = rest / g.out_height * g.height * g.width;
    valid = pixel < g.pixels();
  }
  // x at element l = (r, s, c) of the patch; zero outside.
  __device__ float at(const Geometry& g, const Pixels& x, int l) const {
    const int c = l % g.channels, tap = l / g.channels;
    const int row = h + tap / g.kernel_w * g.dilation_h;
    const int column = w + tap % g.kernel_w * g.dilation_w;
    if (!valid || row < 0 || row >= g.height || column < 0 || column >= g.width) return 0;
    return x.data[static_cast<std::int64_t>(image + row * g.width + column) * x.stride + c];
  }
};

// Few input channels
// -------------------------------------------------------------------------------

constexpr int kBlockPixels = 128, kBlockOutputs = 32;
constexpr int kFilterRow = kBlockOutputs + 4;  // padded: threads store filters transposed

__global__ void __launch_bounds__(kThreads)
    few_inputs_forward_kernel(Geometry g, Pixels x, const float* w, Epilogue y) {
  float* const patches = dynamic_shared<float>();  // [taps][kBlockPixels]
  const int taps = g.taps();
  float* const filter = patches + taps * kBlockPixels;  // [taps][kFilterRow]
  const int thread = static_cast<int>(threadIdx.x);
  const int first = static_cast<int>(blockIdx.x) * kBlockPixels;
  const Origin origin(g, first + thread % kBlockPixels);
  for (int l = thread / kBlockPixels; l < taps; l += kThreads / kBlockPixels)
    patches[l * kBlockPixels + thread % kBlockPixels] = origin.at(g, x, l);
  const int my_output = thread % 8 * 4, my_pixel = thread / 8 * 4;
  for (int k0 = 0; k0 < g.outputs; k0 += kBlockOutputs) {
    __syncthreads();  // patches are there; filters of the round before are used
    for (int i = thread; i < taps * kBlockOutputs; i += kThreads) {
      const int k = i / taps, l = i % taps;
      filter[l * kFilterRow + k] = k0 + k < g.outputs ? w[(k0 + k) * taps + l] : 0.0f;
    }
    __syncthreads();
    float sums[4][4] = {};
    for (int l = 0; l < taps; ++l) {
      const float4 p = *reinterpret_cast<const float4*>(patches + l * kBlockPixels + my_pixel);
      const float4 f = *reinterpret_cast<const float4*>(filter + l * kFilterRow + my_output);
      const float a[4] = {p.x, p.y, p.z, p.w}, b[4] = {f.x, f.y, f.z, f.w};
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) sums[i][j] += a[i] * b[j];
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int pixel = first + my_pixel + i;
      if (pixel < g.pixels() && k0 + my_output < g.outputs)
        y.store(pixel, k0 + my_output, g.outputs, sums[i]);
    }
  }
}

// Sums over pixels of part blockIdx.y, for 32 outputs: sums[part][k][taps + 1], the last for dbias.
// Columns is at least taps + 1.
constexpr int kSlabPixels = 64;
template <int Columns>
__global__ void __launch_bounds__(kThreads)
    few_inputs_filter_gradient_kernel(Geometry g, Pixels x, Pixels dy, int part, float* sums) {
  struct Shared {
    alignas(16) float patches[kSlabPixels][Columns];
    float reduce[8][32];
  };
  THORAX_SHARED(Shared, shared);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const int k = static_cast<int>(blockIdx.x) * 32 + lane;
  const int begin = static_cast<int>(blockIdx.y) * part, end = min(begin + part, g.pixels());
  const int taps = g.taps();
  float own[Columns] = {};
  for (int slab = begin; slab < end; slab += kSlabPixels) {
    __syncthreads();
    const int pixel = slab + thread % kSlabPixels;
    const Origin origin(g, pixel);
    for (int l = thread / kSlabPixels; l < Columns; l += kThreads / kSlabPixels)
      shared.patches[thread % kSlabPixels][l] =
          l < taps ? origin.at(g, x, l) : (l == taps ? 1.0f : 0.0f);
    __syncthreads();
    if (k >= g.outputs) continue;
    for (int i = warp; i < kSlabPixels && slab + i < end; i += 8) {
      float gradient[1];
      dy.load<1>(slab + i, k, gradient);
#pragma unroll
      for (int l = 0; l < Columns; l += 4) {
        const float4 v = *reinterpret_cast<const float4*>(&shared.patches[i][l]);
        own[l] += gradient[0] * v.x;
        own[l + 1] += gradient[0] * v.y;
        own[l + 2] += gradient[0] * v.z;
        own[l + 3] += gradient[0] * v.w;
      }
    }
  }
  float* const to = sums + (static_cast<std::int64_t>(blockIdx.y) * g.outputs + k) * (taps + 1);
#pragma unroll
  for (int l = 0; l < Columns; ++l) {
    if (l > taps) break;
    __syncthreads();
    shared.reduce[warp][lane] = own[l];
    __syncthreads();
    if (warp != 0 || k >= g.outputs) continue;
    float sum = 0;
    for (int other = 0; other < 8; ++other) sum += shared.reduce[other][lane];
    to[l] = sum;
  }
}

// dw[k, l] = sum of the parts, dbias[k] = that of the column of ones; one thread per element.
__global__ void few_inputs_sum_kernel(const float* sums, int parts, int outputs, int taps,
                                      float* dw, float* dbias) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  const int count = outputs * (taps + 1);
  if (i >= count) return;
  float sum = 0;
  for (int part = 0; part < parts; ++part) sum += sums[static_cast<std::int64_t>(part) * count + i];
  const int k = i / (taps + 1), l = i % (taps + 1);
  if (l < taps) dw[k * taps + l] = sum;
  if (l == taps && dbias != nullptr) dbias[k] = sum;
}

// One output channel
// -------------------------------------------------------------------------------

// Lanes 8 i .. 8 i + 7 of a warp: the warp's i-th pixel.
template <int V>
__global__ void __launch_bounds__(kThreads)
    one_output_forward_kernel(Geometry g, Pixels x, const float* w, Epilogue y) {
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 8;
  const int pixel = (static_cast<int>(blockIdx.x) * kThreads + thread) / 8;
  const Origin origin(g, pixel);
  float sum = 0;
  for (int r = 0; r < g.kernel_h; ++r) {
    const int row = origin.h + r * g.dilation_h;
    for (int s = 0; s < g.kernel_w; ++s) {
      const int column = origin.w + s * g.dilation_w;
      if (!origin.valid || row < 0 || row >= g.height || column < 0 || column >= g.width) continue;
      const int from = origin.image + row * g.width + column;
      const float* filter = w + (r * g.kernel_w + s) * g.channels;
      for (int c = lane * V; c < g.channels; c += 8 * V) {
        float a[V], b[V];
        x.load<V>(from, c, a);
        load_global<V>(filter + c, b);
#pragma unroll
        for (int v = 0; v < V; ++v) sum += a[v] * b[v];
      }
    }
  }
#pragma unroll
  for (int step = 4; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  if (lane == 0 && origin.valid) y.store_one(pixel, 0, sum);
}

// The output row or column that `position` of x reaches through a tap, or -1.
__device__ int reached(int position, int tap, int stride, int pad, int dilation, int count) {
  const int shifted = position + pad - tap * dilation;
  return shifted < 0 || shifted % stride != 0 || shifted / stride >= count ? -1 : shifted / stride;
}

template <int V>
__global__ void __launch_bounds__(kThreads)
    one_output_data_gradient_kernel(Geometry g, Pixels dy, const float* w, float* dx, int stride,
                                    std::int64_t count) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= count) return;
  const int vectors = g.channels / V;
  const int c = static_cast<int>(i % vectors) * V, pixel = static_cast<int>(i / vectors);
  const int column = pixel % g.width, rest = pixel / g.width;
  const int row = rest % g.height, n = rest / g.height;
  float sums[V] = {};
  for (int r = 0; r < g.kernel_h; ++r) {
    const int p = reached(row, r, g.stride_h, g.pad_h, g.dilation_h, g.out_height);
    if (p < 0) continue;
    for (int s = 0; s < g.kernel_w; ++s) {
      const int q = reached(column, s, g.stride_w, g.pad_w, g.dilation_w, g.out_width);
      if (q < 0) continue;
      float gradient[1], filter[V];
      dy.load<1>((n * g.out_height + p) * g.out_width + q, 0, gradient);
      load_global<V>(w + (r * g.kernel_w + s) * g.channels + c, filter);
#pragma unroll
      for (int v = 0; v < V; ++v) sums[v] += gradient[0] * filter[v];
    }
  }
  float* const to = dx + static_cast<std::int64_t>(pixel) * stride + c;
  if constexpr (V == 4) {
    *reinterpret_cast<float4*>(to) = make_float4(sums[0], sums[1], sums[2], sums[3]);
  } else {
    for (int v = 0; v < V; ++v) to[v] = sums[v];
  }
}

// Block (columns of 32 channels, part, tap); thread (x, y) adds pixels y, y + 8, ... of channel x.
struct WeightedSums {
  float values[8][32];
};
__global__ void one_output_filter_gradient_kernel(Geometry g, Pixels x, Pixels dy, int part,
                                                  float* sums) {
  THORAX_SHARED(WeightedSums, shared);
  const int lane = static_cast<int>(threadIdx.x), group = static_cast<int>(threadIdx.y);
  const int c = static_cast<int>(blockIdx.x) * 32 + lane;
  const int r = static_cast<int>(blockIdx.z) / g.kernel_w,
            s = static_cast<int>(blockIdx.z) % g.kernel_w;
  const int begin = static_cast<int>(blockIdx.y) * part, end = min(begin + part, g.pixels());
  int pixel = begin + group;
  int q = pixel % g.out_width, p = pixel / g.out_width % g.out_height;
  int image = pixel / g.out_width / g.out_height * g.height;
  float sum = 0;
  for (; pixel < end; pixel += 8) {
    const int row = p * g.stride_h - g.pad_h + r * g.dilation_h;
    const int column = q * g.stride_w - g.pad_w + s * g.dilation_w;
    if (c < g.channels && row >= 0 && row < g.height && column >= 0 && column < g.width) {
      float gradient[1], value[1];
      dy.load<1>(pixel, 0, gradient);
      x.load<1>((image + row) * g.width + column, c, value);
      sum += gradient[0] * value[0];
    }
    for (q += 8; q >= g.out_width; q -= g.out_width) {
      if (++p == g.out_height) {
        p = 0;
        image += g.height;
      }
    }
  }
  shared.values[group][lane] = sum;
  __syncthreads();
  if (group != 0 || c >= g.channels) return;
  for (int other = 1; other < 8; ++other) sum += shared.values[other][lane];
  sums[static_cast<std::int64_t>(blockIdx.y) * g.taps() +
       static_cast<int>(blockIdx.z) * g.channels + c] = sum;
}

// Host
// ---------------------------------------------------------------------------------------------

bool few_inputs(const Conv2dProblem& p) {
  return p.in_channels <= 4 && p.out_channels >= 8 &&
         p.kernel_h * p.kernel_w * p.in_channels <= kMostTaps;
}

int priority(const Conv2dProblem& p) {
  const bool narrow = few_inputs(p) || (p.out_channels == 1 && p.kernel_h * p.kernel_w < 1024);
  return narrow && p.dtype == DType::f32 && supported(conv_shape(p)) ? 30 : -1;
}

void forward(const Conv2dProblem& p, const Tensor& x, const Tensor& w, const Tensor& bias,
             const Tensor& residual, const Tensor& y) {
  const Geometry g(p);
  const Epilogue out = epilogue_of(y, bias, residual, p.relu);
  const Pixels in = pixels_of(x);
  const float* const filter = w.device_data<float>();
  if (few_inputs(p)) {
    const std::size_t shared =
        sizeof(float) * static_cast<std::size_t>(g.taps()) * (kBlockPixels + kFilterRow);
    launch(THORAX_KERNEL(few_inputs_forward_kernel), y.device(),
           {dim3(blocks_for(g.pixels(), kBlockPixels)), dim3(kThreads), shared}, g, in, filter,
           out);
    return;
  }
  const LaunchConfig config{dim3(blocks_for(std::int64_t{8} * g.pixels(), kThreads)),
                            dim3(kThreads)};
  if (g.channels % 4 == 0 && aligned(in, 4) && aligned(filter, 0, 4)) {
    launch(THORAX_KERNEL(one_output_forward_kernel<4>), y.device(), config, g, in, filter, out);
  } else {
    launch(THORAX_KERNEL(one_output_forward_kernel<1>), y.device(), config, g, in, filter, out);
  }
}

void backward_data(const Conv2dProblem& p, const Tensor& dy, const Tensor& w, const Tensor& y,
                   const Tensor& dx) {
  const Tensor gate = p.relu ? y : Tensor{};
  if (few_inputs(p))
    return conv_adjoint("gemm_kernel<conv2d_backward_data_narrow>", conv_shape(p), dy, gate, w, {},
                        dx);
  const Geometry g(p);
  const Pixels gradient = pixels_of(dy, gate);
  const float* const filter = w.device_data<float>();
  float* const to = dx.device_data<float>();
  const int stride = static_cast<int>(dx.pixel_stride());
  const bool vectors = g.channels % 4 == 0 && aligned(filter, 0, 4) && aligned(to, stride, 4);
  const std::int64_t count = dx.numel() / (vectors ? 4 : 1);
  const LaunchConfig config{dim3(blocks_for(count, kThreads)), dim3(kThreads)};
  if (vectors) {
    launch(THORAX_KERNEL(one_output_data_gradient_kernel<4>), dx.device(), config, g, gradient,
           filter, to, stride, count);
  } else {
    launch(THORAX_KERNEL(one_output_data_gradient_kernel<1>), dx.device(), config, g, gradient,
           filter, to, stride, count);
  }
}

// Parts of whole slabs: enough of them to fill the GPU, at least 4 slabs each.
int pixels_a_part(Device device, int pixels, int blocks) {
  const int wanted = std::max(1, 4 * device_info(device).multiprocessors / std::max(1, blocks));
  const int slabs = (pixels + kSlabPixels - 1) / kSlabPixels;
  return std::max(4, (slabs + wanted - 1) / wanted) * kSlabPixels;
}

void backward_filter(const Conv2dProblem& p, const Tensor& x, const Tensor& dy, const Tensor& y,
                     const Tensor& dw, const Tensor& dbias) {
  const Device device = dw.device();
  const Geometry g(p);
  const Tensor gate = p.relu ? y : Tensor{};
  const Pixels in = pixels_of(x), gradient = pixels_of(dy, gate);
  const int taps = g.taps();
  const bool few = few_inputs(p);
  const int blocks = few ? (g.outputs + 31) / 32 : (g.channels + 31) / 32 * g.kernel_h * g.kernel_w;
  const int part = pixels_a_part(device, g.pixels(), blocks);
  const int parts = std::max(1, (g.pixels() + part - 1) / part);
  if (!few) {
    const Tensor sums = Tensor::empty({parts, taps}, DType::f32, device);
    launch(THORAX_KERNEL(one_output_filter_gradient_kernel), device,
           {dim3(blocks_for(g.channels, 32), static_cast<unsigned>(parts),
                 static_cast<unsigned>(g.kernel_h * g.kernel_w)),
            dim3(32, 8)},
           g, in, gradient, part, sums.device_data<float>());
    sum_parts(device, sums, parts, taps, taps, {.data = dw.device_data<float>(), .stride = taps});
    if (dbias.defined()) channel_sums(dy, gate, dbias);
    return;
  }
  const Tensor sums = Tensor::empty({parts, g.outputs, taps + 1}, DType::f32, device);
  const LaunchConfig config{dim3(blocks_for(g.outputs, 32), static_cast<unsigned>(parts)),
                            dim3(kThreads)};
  const auto run = [&](auto columns) {
    launch(THORAX_KERNEL(few_inputs_filter_gradient_kernel<decltype(columns)::value>), device,
           config, g, in, gradient, part, sums.device_data<float>());
  };
  if (taps < 12) {
    run(std::integral_constant<int, 12>{});
  } else if (taps < 28) {
    run(std::integral_constant<int, 28>{});
  } else {
    run(std::integral_constant<int, 64>{});
  }
  const int count = g.outputs * (taps + 1);
  launch(THORAX_KERNEL(few_inputs_sum_kernel), device, {dim3(blocks_for(count, 256)), dim3(256)},
         sums.device_data<float>(), parts, g.outputs, taps, dw.device_data<float>(),
         dbias.defined() ? dbias.device_data<float>() : nullptr);
}

THORAX_PROVIDER(conv2d_cuda_narrow, conv2d_providers(),
                {.name = "cuda/narrow",
                 .device = THORAX_GPU_KIND,
                 .priority = priority,
                 .forward = forward,
                 .backward_data = backward_data,
                 .backward_filter = backward_filter})

}  // namespace
}  // namespace THORAX_GPU
}  // namespace thorax
