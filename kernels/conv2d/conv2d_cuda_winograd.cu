// 3x3 stride-1 convolution by Winograd's F(2x2, 3x3) in float32, all steps in one kernel: 16
// products give 4 results where the direct sum takes 36 (Lavin and Gray, "Fast Algorithms for
// Convolutional Neural Networks", CVPR 2016).
//
//   forward          y  = A^T [ sum over c of (G w G^T) .* (B^T x B) ] A     per 2x2 tile of y
//   data gradient    the same with dy for x and the filter turned by 180 degrees
//   filter gradient  dw = G^T [ sum over tiles of (A dy A^T) .* (B^T x B) ] G
//
// .* is 16 products, one per frequency, so that the sums are 16 matrix products. A block of 256
// threads owns 32 x 32 of each (tiles x outputs, or outputs x channels); depth (channels, or tiles)
// goes by in steps of 8. For every step a thread transforms one 4x4 patch in registers and stores
// its 16 frequencies to shared memory; the next patch is loaded while the products run. A warp
// multiplies two frequencies, a lane 8 x 4 sums of each: 12 floats from shared memory for 32
// multiply-adds. At the end the 16 frequencies of a result meet in one thread through shared
// memory, 8 columns at a time. Transformed data never goes to global memory, except the filter:
// 16/9 of its size.
#include "engine/runtime/launch.cuh"
#include "kernels/common/passes.cuh"
#include "kernels/common/vec.cuh"
#include "kernels/conv2d/conv_shape.h"

namespace thorax {
namespace THORAX_GPU {
namespace {

constexpr int kThreads = 256, kTile = 32, kStep = 8, kFrequencies = 16;
// Rows of 36: eight consecutive ones start in different banks and stay aligned to 16 bytes.
constexpr int kPadded = 36;

struct Buffers {
  float rows[kFrequencies][kStep][kPadded];
  float columns[kFrequencies][kStep][kTile];
};

// A map of pixels in which 4x4 or 2x2 patches are found by their tile.
struct Patches {
  const float* data;
  std::int64_t pixel, image;
  int height, width, channels;
};

// Where the tiles lie: tile t covers 2x2 pixels of the result.
struct Tiling {
  int count, per_image, per_line;
  int pad_h, pad_w;  // the 4x4 patch of a tile begins this much above and left of it
  __device__ void place(int t, int& image, int& h, int& w) const {
    image = t / per_image;
    const int at = t % per_image;
    h = at / per_line * 2;
    w = at % per_line * 2;
  }
};

// Loads N x N floats of one channel at (h, w); zero outside the image.
template <int N>
__device__ __forceinline__ void load_patch(float (&d)[N][N], const Patches& from, int image, int h,
                                           int w, int channel, bool inside) {
  const float* const base = from.data + image * from.image + channel;
#pragma unroll
  for (int i = 0; i < N; ++i) {
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const bool here = inside &&
                        static_cast<unsigned>(h + i) < static_cast<unsigned>(from.height) &&
                        static_cast<unsigned>(w + j) < static_cast<unsigned>(from.width);
      d[i][j] =
          here ? base[static_cast<std::int64_t>((h + i) * from.width + w + j) * from.pixel] : 0.0f;
    }
  }
}

// B^T d B
__device__ __forceinline__ void transform_data(float (&v)[16], const float (&d)[4][4]) {
  float t[4][4];
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    t[0][j] = d[0][j] - d[2][j];
    t[1][j] = d[1][j] + d[2][j];
    t[2][j] = d[2][j] - d[1][j];
    t[3][j] = d[1][j] - d[3][j];
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    v[i * 4] = t[i][0] - t[i][2];
    v[i * 4 + 1] = t[i][1] + t[i][2];
    v[i * 4 + 2] = t[i][2] - t[i][1];
    v[i * 4 + 3] = t[i][1] - t[i][3];
  }
}

// A d A^T
__device__ __forceinline__ void transform_gradient(float (&v)[16], const float (&d)[2][2]) {
  float t[4][2];
#pragma unroll
  for (int j = 0; j < 2; ++j) {
    t[0][j] = d[0][j];
    t[1][j] = d[0][j] + d[1][j];
    t[2][j] = d[0][j] - d[1][j];
    t[3][j] = -d[1][j];
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    v[i * 4] = t[i][0];
    v[i * 4 + 1] = t[i][0] + t[i][1];
    v[i * 4 + 2] = t[i][0] - t[i][1];
    v[i * 4 + 3] = -t[i][1];
  }
}

// A^T m A
__device__ __forceinline__ void transform_result(float (&y)[2][2], const float (&m)[16]) {
  float t[2][4];
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    t[0][j] = m[j] + m[4 + j] + m[8 + j];
    t[1][j] = m[4 + j] - m[8 + j] - m[12 + j];
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    y[i][0] = t[i][0] + t[i][1] + t[i][2];
    y[i][1] = t[i][1] - t[i][2] - t[i][3];
  }
}

// G^T m G
__device__ __forceinline__ void transform_filter_gradient(float (&w)[3][3], const float (&m)[16]) {
  float t[3][4];
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    t[0][j] = m[j] + 0.5f * (m[4 + j] + m[8 + j]);
    t[1][j] = 0.5f * (m[4 + j] - m[8 + j]);
    t[2][j] = m[12 + j] + 0.5f * (m[4 + j] + m[8 + j]);
  }
#pragma unroll
  for (int i = 0; i < 3; ++i) {
    w[i][0] = t[i][0] + 0.5f * (t[i][1] + t[i][2]);
    w[i][1] = 0.5f * (t[i][1] - t[i][2]);
    w[i][2] = t[i][3] + 0.5f * (t[i][1] + t[i][2]);
  }
}

// G w G^T for every pair of depth and column, zero where either is past the end: u[frequency][depth
// rounded up to 8][columns rounded up to 32]. Turned: the filter of the data gradient, whose depth
// is the outputs of w.
__global__ void transform_filter(const float* w, int outputs, int channels, bool turned, int depth,
                                 int columns, float* u) {
  const int column = static_cast<int>(blockIdx.x) * kTile + static_cast<int>(threadIdx.x);
  const int row = static_cast<int>(blockIdx.y) * kStep + static_cast<int>(threadIdx.y);
  const int k = turned ? row : column, c = turned ? column : row;
  float g[3][3];
#pragma unroll
  for (int r = 0; r < 3; ++r) {
#pragma unroll
    for (int s = 0; s < 3; ++s) {
      const int tap = turned ? 8 - (r * 3 + s) : r * 3 + s;
      g[r][s] = k < outputs && c < channels
                    ? w[(static_cast<std::int64_t>(k) * 9 + tap) * channels + c]
                    : 0.0f;
    }
  }
  float t[4][3];
#pragma unroll
  for (int s = 0; s < 3; ++s) {
    t[0][s] = g[0][s];
    t[1][s] = 0.5f * (g[0][s] + g[1][s] + g[2][s]);
    t[2][s] = 0.5f * (g[0][s] - g[1][s] + g[2][s]);
    t[3][s] = g[2][s];
  }
  const std::int64_t plane = static_cast<std::int64_t>(depth) * columns;
  float* const to = u + static_cast<std::int64_t>(row) * columns + column;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    to[plane * (i * 4)] = t[i][0];
    to[plane * (i * 4 + 1)] = 0.5f * (t[i][0] + t[i][1] + t[i][2]);
    to[plane * (i * 4 + 2)] = 0.5f * (t[i][0] - t[i][1] + t[i][2]);
    to[plane * (i * 4 + 3)] = t[i][2];
  }
}

// The sums of a thread: two frequencies x 8 rows x 4 columns.
struct Sums {
  float c[2][8][4];
  int warp, row, column;  // its first row and column

  __device__ __forceinline__ explicit Sums(int thread)
      : warp(thread / 32), row(thread % 32 / 8 * 8), column(thread % 8 * 4) {
#pragma unroll
    for (int f = 0; f < 2; ++f)
#pragma unroll
      for (int i = 0; i < 8; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) c[f][i][j] = 0;
  }

  __device__ __forceinline__ void add(const Buffers& in) {
    // Not unrolled: 64 products an iteration hide its latency, and operands of several would not
    // fit the 128 registers that let two blocks share a multiprocessor.
#pragma unroll 1
    for (int d = 0; d < kStep; ++d) {
#pragma unroll
      for (int f = 0; f < 2; ++f) {
        const float* const a = &in.rows[warp * 2 + f][d][row];
        const float4 low = *reinterpret_cast<const float4*>(a);
        const float4 high = *reinterpret_cast<const float4*>(a + 4);
        const float4 b = *reinterpret_cast<const float4*>(&in.columns[warp * 2 + f][d][column]);
        const float rows[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
        const float columns[4] = {b.x, b.y, b.z, b.w};
#pragma unroll
        for (int i = 0; i < 8; ++i)
#pragma unroll
          for (int j = 0; j < 4; ++j) c[f][i][j] += rows[i] * columns[j];
      }
    }
  }

  // Gathers the 16 frequencies of (row, column) = (thread / 8, 8 pass + thread % 8) for each of
  // four passes: calls use(column, m).
  template <class Use>
  __device__ __forceinline__ void finish(Buffers& memory, int thread, const Use& use) const {
#pragma unroll
    for (int pass = 0; pass < 4; ++pass) {
      __syncthreads();  // the buffer is read by nobody any more
      if (column / 8 == pass) {
#pragma unroll
        for (int f = 0; f < 2; ++f) {
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            float* const to = &memory.rows[warp * 2 + f][column % 8 + j][row];
            *reinterpret_cast<float4*>(to) =
                make_float4(c[f][0][j], c[f][1][j], c[f][2][j], c[f][3][j]);
            *reinterpret_cast<float4*>(to + 4) =
                make_float4(c[f][4][j], c[f][5][j], c[f][6][j], c[f][7][j]);
          }
        }
      }
      __syncthreads();
      float m[16];
#pragma unroll
      for (int f = 0; f < 16; ++f) m[f] = memory.rows[f][thread % 8][thread / 8];
      use(pass * 8 + thread % 8, m);
    }
  }
};

struct Result {
  float* data;
  std::int64_t pixel;
  int height, width, channels;
  const float* bias;      // or nullptr
  const float* residual;  // or nullptr
  std::int64_t residual_pixel;
  bool relu;
};

__global__ void __launch_bounds__(kThreads, 2)
    winograd_product(Patches in, Tiling tiling, const float* u, int depth, int columns,
                     Result out) {
  THORAX_SHARED(Buffers, memory);
  const int thread = static_cast<int>(threadIdx.x);
  // This thread's patch: channel thread % 8 of the step, tile thread / 8 of the block.
  const int lane = thread % kStep, tile = static_cast<int>(blockIdx.x) * kTile + thread / kStep;
  const bool exists = tile < tiling.count;
  const float* const filter = u + static_cast<int>(blockIdx.y) * kTile;
  const std::int64_t plane = static_cast<std::int64_t>(depth) * columns;
  // What lies in the image is the same for all channels: one bit for each of the 16 pixels.
  unsigned inside = 0;
  const float* corner;
  {
    int image, h, w;
    tiling.place(tile, image, h, w);
    h -= tiling.pad_h;
    w -= tiling.pad_w;
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      if (exists && static_cast<unsigned>(h + i / 4) < static_cast<unsigned>(in.height) &&
          static_cast<unsigned>(w + i % 4) < static_cast<unsigned>(in.width))
        inside |= 1u << i;
    }
    corner = in.data + image * in.image + (static_cast<std::int64_t>(h) * in.width + w) * in.pixel +
             lane;
  }
  float d[4][4];
  const auto fetch = [&](int first) {
    const unsigned here = first + lane < in.channels ? inside : 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float* const line = corner + first + i * in.width * in.pixel;
#pragma unroll
      for (int j = 0; j < 4; ++j)
        d[i][j] = (here >> (i * 4 + j) & 1u) != 0 ? line[j * in.pixel] : 0.0f;
    }
  };
  Sums sums(thread);
  fetch(0);
  for (int first = 0; first < depth; first += kStep) {
    // Of the 16 x 8 x 32 filter values: four times four, along memory. They come from the
    // second-level cache; waiting for them in registers during the products would leave one block
    // on a multiprocessor instead of two.
    float4 g[4];
#pragma unroll
    for (int i = 0; i < 4; ++i)
      g[i] = *reinterpret_cast<const float4*>(
          filter + plane * (thread / 64 + i * 4) +
          static_cast<std::int64_t>(first + thread % 64 / 8) * columns + thread % 8 * 4);
    float v[16];
    transform_data(v, d);
    __syncthreads();
#pragma unroll
    for (int f = 0; f < 16; ++f) memory.rows[f][lane][thread / kStep] = v[f];
#pragma unroll
    for (int i = 0; i < 4; ++i)
      *reinterpret_cast<float4*>(&memory.columns[0][0][0] + (thread + i * kThreads) * 4) = g[i];
    __syncthreads();
    if (first + kStep < depth) fetch(first + kStep);
    sums.add(memory);
  }
  sums.finish(memory, thread, [&](int column, const float(&m)[16]) {
    const int channel = static_cast<int>(blockIdx.y) * kTile + column;
    if (!exists || channel >= out.channels) return;
    int image, h, w;
    tiling.place(tile, image, h, w);
    float y[2][2];
    transform_result(y, m);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        if (h + i >= out.height || w + j >= out.width) continue;
        const std::int64_t pixel =
            (static_cast<std::int64_t>(image) * out.height + h + i) * out.width + w + j;
        float value = y[i][j];
        if (out.bias != nullptr) value += out.bias[channel];
        if (out.residual != nullptr) value += out.residual[pixel * out.residual_pixel + channel];
        out.data[pixel * out.pixel + channel] = out.relu && value <= 0 ? 0.0f : value;
      }
    }
  });
}

// Part blockIdx.z of the tiles; to: parts x outputs x 3 x 3 x channels.
__global__ void __launch_bounds__(kThreads, 2)
    winograd_filter_gradient(Patches dy, Patches x, Tiling tiling, int tiles_per_part, float* to) {
  THORAX_SHARED(Buffers, memory);
  const int thread = static_cast<int>(threadIdx.x);
  // This thread's patches: one output of dy and one channel of x, of tile thread / 32 of the step.
  const int k = static_cast<int>(blockIdx.y) * kTile + thread % kTile;
  const int c = static_cast<int>(blockIdx.x) * kTile + thread % kTile;
  const int part = static_cast<int>(blockIdx.z), begin = part * tiles_per_part;
  const int end = min(tiling.count, begin + tiles_per_part);
  float gradient[2][2], data[4][4];
  const auto fetch = [&](int first) {
    const int tile = first + thread / kTile;
    int image, h, w;
    tiling.place(tile, image, h, w);
    load_patch<2>(gradient, dy, image, h, w, k, tile < end && k < dy.channels);
    load_patch<4>(data, x, image, h - tiling.pad_h, w - tiling.pad_w, c,
                  tile < end && c < x.channels);
  };
  Sums sums(thread);
  fetch(begin);
  for (int first = begin; first < end; first += kStep) {
    float v[16], m[16];
    transform_gradient(m, gradient);
    transform_data(v, data);
    __syncthreads();
#pragma unroll
    for (int f = 0; f < 16; ++f) {
      memory.rows[f][thread / kTile][thread % kTile] = m[f];
      memory.columns[f][thread / kTile][thread % kTile] = v[f];
    }
    __syncthreads();
    if (first + kStep < end) fetch(first + kStep);
    sums.add(memory);
  }
  sums.finish(memory, thread, [&](int column, const float(&m)[16]) {
    const int output = static_cast<int>(blockIdx.y) * kTile + thread / 8;
    const int channel = static_cast<int>(blockIdx.x) * kTile + column;
    if (output >= dy.channels || channel >= x.channels) return;
    float w[3][3];
    transform_filter_gradient(w, m);
    float* const at =
        to + (static_cast<std::int64_t>(part) * dy.channels + output) * 9 * x.channels + channel;
#pragma unroll
    for (int tap = 0; tap < 9; ++tap)
      at[static_cast<std::int64_t>(tap) * x.channels] = w[tap / 3][tap % 3];
  });
}

Patches patches_of(const Tensor& t) {
  return {t.device_data<float>(),
          t.pixel_stride(),
          t.size(1) * t.size(2) * t.pixel_stride(),
          static_cast<int>(t.size(1)),
          static_cast<int>(t.size(2)),
          static_cast<int>(t.size(3))};
}

Tiling tiling_of(std::int64_t images, std::int64_t height, std::int64_t width, std::int64_t pad_h,
                 std::int64_t pad_w) {
  const std::int64_t lines = (height + 1) / 2, columns = (width + 1) / 2;
  return {static_cast<int>(images * lines * columns), static_cast<int>(lines * columns),
          static_cast<int>(columns), static_cast<int>(pad_h), static_cast<int>(pad_w)};
}

void run_product(const Conv2dProblem& p, const Tensor& in, const Tensor& w, bool turned,
                 const Tiling& tiling, const Result& out) {
  const int depth = static_cast<int>(blocks_for(in.size(3), kStep)) * kStep;
  const int columns = static_cast<int>(blocks_for(out.channels, kTile)) * kTile;
  const Shape shape{std::int64_t{kFrequencies}, std::int64_t{depth}, std::int64_t{columns}};
  const Tensor u = Tensor::empty(shape, DType::f32, in.device());
  launch(THORAX_KERNEL(transform_filter), in.device(),
         {dim3(static_cast<unsigned>(columns / kTile), static_cast<unsigned>(depth / kStep)),
          dim3(kTile, kStep)},
         w.device_data<float>(), static_cast<int>(p.out_channels), static_cast<int>(p.in_channels),
         turned, depth, columns, u.device_data<float>());
  launch(THORAX_KERNEL(winograd_product), in.device(),
         {dim3(blocks_for(tiling.count, kTile), static_cast<unsigned>(columns / kTile)),
          dim3(kThreads)},
         patches_of(in), tiling, u.device_data<float>(), depth, columns, out);
}

void forward(const Conv2dProblem& p, const Tensor& x, const Tensor& w, const Tensor& bias,
             const Tensor& residual, const Tensor& y) {
  if (y.numel() == 0) return;
  Result out{};
  out.data = y.device_data<float>();
  out.pixel = y.pixel_stride();
  out.height = static_cast<int>(y.size(1));
  out.width = static_cast<int>(y.size(2));
  out.channels = static_cast<int>(y.size(3));
  if (bias.defined()) out.bias = bias.device_data<float>();
  if (residual.defined()) {
    out.residual = residual.device_data<float>();
    out.residual_pixel = residual.pixel_stride();
  }
  out.relu = p.relu;
  run_product(p, x, w, false, tiling_of(p.batch, p.out_height(), p.out_width(), p.pad_h, p.pad_w),
              out);
}

void backward_data(const Conv2dProblem& p, const Tensor& dy, const Tensor& w, const Tensor& y,
                   const Tensor& dx) {
  if (dx.numel() == 0) return;
  const Tensor gradient = p.relu ? passes::masked_gradient(dy, y) : dy;
  Result out{};
  out.data = dx.device_data<float>();
  out.pixel = dx.pixel_stride();
  out.height = static_cast<int>(p.height);
  out.width = static_cast<int>(p.width);
  out.channels = static_cast<int>(p.in_channels);
  run_product(p, gradient, w, true, tiling_of(p.batch, p.height, p.width, 2 - p.pad_h, 2 - p.pad_w),
              out);
}

void backward_filter(const Conv2dProblem& p, const Tensor& x, const Tensor& dy, const Tensor& y,
                     const Tensor& dw, const Tensor& dbias) {
  if (dy.numel() == 0) {
    dw.fill(0);
    if (dbias.defined()) dbias.fill(0);
    return;
  }
  const Tensor gradient = p.relu ? passes::masked_gradient(dy, y) : dy;
  if (dbias.defined()) passes::bias_gradient(gradient, dbias);
  const Tiling tiling = tiling_of(p.batch, p.out_height(), p.out_width(), p.pad_h, p.pad_w);
  const unsigned across = blocks_for(p.in_channels, kTile),
                 down = blocks_for(p.out_channels, kTile);
  const std::int64_t wanted = passes::parts_for(std::int64_t{across} * down, tiling.count, 64,
                                                dw.numel(), 65535, dw.device());
  const int per_part = static_cast<int>(blocks_for(tiling.count, wanted * kStep)) * kStep;
  const unsigned parts = blocks_for(tiling.count, per_part);
  Tensor sums = dw;
  if (parts > 1) {
    const Shape shape{std::int64_t{parts}, dw.numel()};
    sums = Tensor::empty(shape, DType::f32, dw.device());
  }
  launch(THORAX_KERNEL(winograd_filter_gradient), dw.device(),
         {dim3(across, down, parts), dim3(kThreads)}, patches_of(gradient), patches_of(x), tiling,
         per_part, sums.device_data<float>());
  if (parts > 1) passes::sum_parts(sums, dw);
}

// Below 16 channels most of a block's 32 columns would be zeros.
int priority(const Conv2dProblem& p) {
  const bool applies = p.dtype == DType::f32 && p.kernel_h == 3 && p.kernel_w == 3 &&
                       p.stride_h == 1 && p.stride_w == 1 && p.dilation_h == 1 &&
                       p.dilation_w == 1 && p.groups == 1;
  return applies && std::min(p.in_channels, p.out_channels) >= 16 && passes::fits(conv_shape(p))
             ? 20
             : -1;
}

}  // namespace

THORAX_PROVIDER(conv2d_cuda_winograd, conv2d_providers(),
                {.name = "cuda/winograd",
                 .device = THORAX_GPU_KIND,
                 .priority = priority,
                 .forward = forward,
                 .backward_data = backward_data,
                 .backward_filter = backward_filter});

}  // namespace THORAX_GPU
}  // namespace thorax
