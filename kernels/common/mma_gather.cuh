// Forward pass and data gradient as one implicit matrix product on tensor cores:
//
//   result[m, n] = sum over kk of source[pixel(m) moved by tap(kk), channel(kk)] * filter[n, kk]
//
// m counts pixels of the result, n its channels, kk = (tap, channel) with the channel fastest. The
// data gradient is the same product with the transposed filter; with a stride, the pixels of one
// remainder of the stride meet the same taps and make a product of their own, so that no time goes
// into multiplying inserted zeros. Where patches lie side by side (2 x 2 with stride 2, the forward
// pass of UNet's transposed convolutions) all taps are columns of one product: row m is a pixel of
// the source, column n is (tap, channel), and the result's pixel is the tap's in the patch of m.
//
// A block of 128 threads owns kM pixels x kN channels; depth goes by in steps of 64 bytes (32
// halves or 16 floats). Thread t brings chunk t % 4 (16 bytes) of rows t / 4, t / 4 + 32, ... of
// both tiles.
#pragma once

#include <numeric>

#include "kernels/common/mma_core.cuh"

namespace thorax {
namespace THORAX_GPU {
namespace mma {

template <class T>
struct GatherProduct {
  const T* source;  // H x W pixels, images one after another
  std::int64_t source_pixel, source_image;
  int height, width;
  const T* filter;  // outputs x filter_row, per group
  std::int64_t filter_row;
  const float* bias;  // or nullptr
  const T* residual;  // or nullptr; pixels as those of the result
  std::int64_t residual_pixel;
  T* result;
  std::int64_t result_pixel;
  int result_height, result_width;
  bool relu, pairs;  // pairs: two channels of the result are aligned to two elements
  // Row m = image, i, j. It reads source row i * move_h + origin_h + (tap row) * tap_h, it is
  // result row i * spread_h + first_h; columns likewise.
  int rows;
  Divider per_image, per_line;
  int move_h, move_w, origin_h, origin_w, tap_h, tap_w;
  int spread_h, spread_w, first_h, first_w;
  // Depth: tap (i, j) is tap (first_r + i * step_r, first_s + j * step_s) of the filter.
  int depth, channels, outputs, taps_w, kernel_w;
  Divider per_tap, per_tap_line;
  int first_r, step_r, first_s, step_s;
  // Patches: column n of the result is channel n % patch_channels of pixel n / patch_channels of a
  // patch of patch_w pixels a line, whose first pixel is that of row m. patch_w 0: no patches.
  int patch_w;
  Divider per_patch_pixel, per_patch_line;

  // What a column of the result adds to its distance from the row's first element.
  __device__ __forceinline__ std::int64_t shift(int column) const {
    if (patch_w == 0) return 0;
    const int at = per_patch_pixel.quotient(column), line = per_patch_line.quotient(at);
    return static_cast<std::int64_t>(line * result_width + at - line * patch_w) * result_pixel -
           at * static_cast<int>(per_patch_pixel.divisor);
  }
  __device__ __forceinline__ int channel_of(int column) const {
    return patch_w == 0 ? column
                        : column - per_patch_pixel.quotient(column) *
                                       static_cast<int>(per_patch_pixel.divisor);
  }
};

namespace {

constexpr int kRowChunks = 4;  // of a tile's row: 64 bytes of depth

// What a thread reads: its rows of both tiles.
template <class Math, class Tile, int Bytes>
struct GatherReader {
  using T = typename Math::Element;
  static constexpr int kRowsAtOnce = Tile::kThreads / kRowChunks;
  static constexpr int kA = Tile::kM / kRowsAtOnce, kB = Tile::kN / kRowsAtOnce;
  static constexpr int kChunk = 16 / static_cast<int>(sizeof(T));
  static constexpr int kPieces = 16 / Bytes, kPiece = kChunk / kPieces;
  static constexpr int kStep = kChunk * kRowChunks;
  static constexpr int kStageBytes = (Tile::kM + Tile::kN) * kRowChunks * 16;

  int row, chunk;
  int h[kA], w[kA];
  const T* image[kA];
  const T* filter[kB];  // nullptr past the last channel

  __device__ __forceinline__ GatherReader(const GatherProduct<T>& p, int group, int thread) {
    row = thread / kRowChunks;
    chunk = thread % kRowChunks;
#pragma unroll
    for (int i = 0; i < kA; ++i) {
      const int m = static_cast<int>(blockIdx.x) * Tile::kM + row + i * kRowsAtOnce;
      const int n = p.per_image.quotient(m);
      const int at = m - n * static_cast<int>(p.per_image.divisor);
      const int line = p.per_line.quotient(at);
      const int column = at - line * static_cast<int>(p.per_line.divisor);
      const bool inside = m < p.rows;
      h[i] = inside ? line * p.move_h + p.origin_h : -(1 << 29);  // outside under every tap
      w[i] = column * p.move_w + p.origin_w;
      image[i] = p.source + (inside ? n : 0) * p.source_image +
                 static_cast<std::int64_t>(group) * p.channels;
    }
#pragma unroll
    for (int i = 0; i < kB; ++i) {
      const int n = static_cast<int>(blockIdx.y) * Tile::kN + row + i * kRowsAtOnce;
      filter[i] = n < p.outputs
                      ? p.filter + (static_cast<std::int64_t>(group) * p.outputs + n) * p.filter_row
                      : nullptr;
    }
  }

  // Calls a(i, piece, address, inside) for the pieces of its chunk of step `step` in each of its
  // rows, and b(...).
  template <class A, class B>
  __device__ __forceinline__ void read(const GatherProduct<T>& p, int step, A&& a, B&& b) const {
#pragma unroll
    for (int piece = 0; piece < kPieces; ++piece) {
      const int kk = step * kStep + chunk * kChunk + piece * kPiece;
      const bool deep = kk < p.depth;
      const int tap = p.per_tap.quotient(kk), c = kk - tap * p.channels;
      const int i = p.per_tap_line.quotient(tap), j = tap - i * p.taps_w;
#pragma unroll
      for (int r = 0; r < kA; ++r) {
        const int y = h[r] + i * p.tap_h, x = w[r] + j * p.tap_w;
        const bool inside = deep && static_cast<unsigned>(y) < static_cast<unsigned>(p.height) &&
                            static_cast<unsigned>(x) < static_cast<unsigned>(p.width);
        const T* const from =
            inside ? image[r] + static_cast<std::int64_t>(y * p.width + x) * p.source_pixel + c
                   : p.source;
        a(r, piece, from, inside);
      }
      const int filter_tap = (p.first_r + i * p.step_r) * p.kernel_w + p.first_s + j * p.step_s;
#pragma unroll
      for (int r = 0; r < kB; ++r) {
        const bool inside = deep && filter[r] != nullptr;
        b(r, piece, inside ? filter[r] + filter_tap * p.channels + c : p.filter, inside);
      }
    }
  }

  __device__ __forceinline__ int place_a(int i) const {
    return swizzled<kRowChunks>(row + i * kRowsAtOnce, chunk);
  }
  __device__ __forceinline__ int place_b(int i) const {
    return Tile::kM * kRowChunks * 16 + swizzled<kRowChunks>(row + i * kRowsAtOnce, chunk);
  }
};

// The sums of a warp: its part of the result in fragments of 16 x 8.
template <class Math, class Tile>
struct GatherSums {
  static constexpr int kM = Tile::kWarpM / 16, kN = Tile::kWarpN / 8;
  float c[kM][kN][4];
  int lane, warp_m, warp_n;

  __device__ __forceinline__ explicit GatherSums(int thread) {
    lane = thread % 32;
    warp_m = thread / 32 / Tile::kWarpsN * Tile::kWarpM;
    warp_n = thread / 32 % Tile::kWarpsN * Tile::kWarpN;
#pragma unroll
    for (int m = 0; m < kM; ++m)
#pragma unroll
      for (int n = 0; n < kN; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) c[m][n][i] = 0;
  }

  // Adds the product of one stage of tiles.
  __device__ __forceinline__ void add(const unsigned char* stage) {
    const int matrix = lane / 8, line = lane % 8;  // what this lane names to ldmatrix
#pragma unroll
    for (int k = 0; k < kRowChunks; k += 2) {
      unsigned b[kN][2];
#pragma unroll
      for (int n = 0; n < kN; n += 2) {
        unsigned four[4];
        const int row = warp_n + n * 8 + matrix / 2 * 8 + line;
        ptx::ldmatrix(
            four, stage + Tile::kM * kRowChunks * 16 + swizzled<kRowChunks>(row, k + matrix % 2));
#pragma unroll
        for (int i = 0; i < 4; ++i) b[n + i / 2][i % 2] = operand<Math>(four[i]);
      }
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        unsigned a[4];
        const int row = warp_m + m * 16 + matrix % 2 * 8 + line;
        ptx::ldmatrix(a, stage + swizzled<kRowChunks>(row, k + matrix / 2));
#pragma unroll
        for (int i = 0; i < 4; ++i) a[i] = operand<Math>(a[i]);
#pragma unroll
        for (int n = 0; n < kN; ++n) Math::multiply(c[m][n], a, b[n]);
      }
    }
  }

  template <class T>
  __device__ __forceinline__ void store(const GatherProduct<T>& p, int group) const {
    const int first = group * p.outputs;
#pragma unroll
    for (int half = 0; half < 2 * kM; ++half) {
      const int m = static_cast<int>(blockIdx.x) * Tile::kM + warp_m + half * 8 + lane / 4;
      if (m >= p.rows) continue;
      const int image = p.per_image.quotient(m);
      const int at = m - image * static_cast<int>(p.per_image.divisor);
      const int line = p.per_line.quotient(at);
      const int column = at - line * static_cast<int>(p.per_line.divisor);
      const std::int64_t pixel =
          (static_cast<std::int64_t>(image) * p.result_height + line * p.spread_h + p.first_h) *
              p.result_width +
          column * p.spread_w + p.first_w;
      T* const to = p.result + pixel * p.result_pixel + first;
      const T* const extra =
          p.residual != nullptr ? p.residual + pixel * p.residual_pixel + first : nullptr;
#pragma unroll
      for (int n = 0; n < kN; ++n) {
        const int channel = static_cast<int>(blockIdx.y) * Tile::kN + warp_n + n * 8 + lane % 4 * 2;
        Vec<T, 2> out;
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          float sum = c[half / 2][n][half % 2 * 2 + i];
          if (channel + i < p.outputs) {
            if (p.bias != nullptr) sum += p.bias[first + p.channel_of(channel + i)];
            if (extra != nullptr) sum += to_float(extra[channel + i]);
          }
          out[i] = from_float<T>(p.relu && sum <= 0 ? 0.0f : sum);
        }
        if (p.pairs && channel + 1 < p.outputs) {
          store_raw<2>(to + channel + p.shift(channel), out);
        } else {
#pragma unroll
          for (int i = 0; i < 2; ++i)
            if (channel + i < p.outputs) to[channel + i + p.shift(channel + i)] = out[i];
        }
      }
    }
  }
};

template <class Math, class Tile, int Bytes>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kN == 32 && Bytes > 2 ? 3 : 2)
    gather_product(GatherProduct<typename Math::Element> p) {
  using Reader = GatherReader<Math, Tile, Bytes>;
  unsigned char* const memory = dynamic_shared<unsigned char>();
  const int thread = static_cast<int>(threadIdx.x), group = static_cast<int>(blockIdx.z);
  const Reader reader(p, group, thread);
  GatherSums<Math, Tile> sums(thread);
  const int steps = (p.depth + Reader::kStep - 1) / Reader::kStep;
  add_steps<Math, Bytes>(
      memory, steps, reader,
      [&](int step, const auto& to_a, const auto& to_b) { reader.read(p, step, to_a, to_b); },
      sums);
  sums.store(p, group);
}

template <class Math, class Tile, int Bytes>
void launch_gather(const GatherProduct<typename Math::Element>& p, Device device,
                   std::int64_t groups) {
  launch(THORAX_KERNEL(gather_product<Math, Tile, Bytes>), device,
         {dim3(blocks_for(p.rows, Tile::kM), blocks_for(p.outputs, Tile::kN),
               static_cast<unsigned>(groups)),
          dim3(Tile::kThreads), Math::kStages * GatherReader<Math, Tile, Bytes>::kStageBytes},
         p);
}

// Everything but where the rows lie and which taps they meet. The source has `channels` a group,
// the result `outputs`.
template <class T>
GatherProduct<T> gather_product_of(const Tensor& source, std::int64_t height, std::int64_t width,
                                   const Tensor& filter, const Tensor& bias, const Tensor& result,
                                   std::int64_t result_height, std::int64_t result_width,
                                   std::int64_t taps, std::int64_t kernel_w, std::int64_t channels,
                                   std::int64_t outputs) {
  GatherProduct<T> p{};
  p.source = source.device_data<T>();
  p.source_pixel = source.pixel_stride();
  p.source_image = height * width * source.pixel_stride();
  p.height = static_cast<int>(height);
  p.width = static_cast<int>(width);
  p.filter = filter.device_data<T>();
  p.filter_row = taps * channels;
  p.bias = bias.defined() ? bias.device_data<float>() : nullptr;
  p.result = result.device_data<T>();
  p.result_pixel = result.pixel_stride();
  p.result_height = static_cast<int>(result_height);
  p.result_width = static_cast<int>(result_width);
  p.pairs = outputs % 2 == 0 && p.result_pixel % 2 == 0 &&
            reinterpret_cast<std::uintptr_t>(p.result) % (2 * sizeof(T)) == 0;
  p.channels = static_cast<int>(channels);
  p.outputs = static_cast<int>(outputs);
  p.kernel_w = static_cast<int>(kernel_w);
  p.per_tap = Divider(channels);
  return p;
}

template <class Math>
void run_gather(GatherProduct<typename Math::Element>& p, const Tensor& source,
                const Tensor& filter, std::int64_t images, std::int64_t lines, std::int64_t columns,
                std::int64_t taps_h, std::int64_t taps_w, std::int64_t groups) {
  p.rows = static_cast<int>(images * lines * columns);
  p.per_image = Divider(lines * columns);
  p.per_line = Divider(columns);
  p.taps_w = static_cast<int>(taps_w);
  p.per_tap_line = Divider(taps_w);
  p.depth = static_cast<int>(taps_h * taps_w) * p.channels;
  with_piece<typename Math::Element>(p.channels, {&source, &filter}, [&](auto bytes) {
    constexpr int kBytes = decltype(bytes)::value;
    if (p.outputs > 32) {
      launch_gather<Math, Tile<128, 64, 64, 32>, kBytes>(p, source.device(), groups);
    } else {
      launch_gather<Math, Tile<128, 32, 32, 32>, kBytes>(p, source.device(), groups);
    }
  });
}

// Whether the pixels that the taps of one output meet are a patch of the image, and the patches
// cover it.
inline bool side_by_side(const ConvShape& s) {
  return s.taps() > 1 && s.groups == 1 && s.dilation_h == 1 && s.dilation_w == 1 && s.pad_h == 0 &&
         s.pad_w == 0 && s.kernel_h == s.stride_h && s.kernel_w == s.stride_w &&
         s.height == s.out_height * s.stride_h && s.width == s.out_width * s.stride_w;
}

// The adjoint where patches lie side by side: x[patch of m][tap, c] = sum_k y[m, k] w[k, tap, c].
template <class Math>
void patch_adjoint(const ConvShape& s, const Tensor& y, const Tensor& w, const Tensor& bias,
                   const Tensor& x) {
  using T = typename Math::Element;
  const std::int64_t columns = s.taps() * s.channels;
  const Tensor filter = passes::transposed_filter(w, 1, s.out_channels, 1, columns);
  GatherProduct<T> p = gather_product_of<T>(y, s.out_height, s.out_width, filter, bias, x, s.height,
                                            s.width, 1, 1, s.out_channels, columns);
  p.pairs = p.pairs && s.channels % 2 == 0;  // both of a pair in one pixel
  p.move_h = p.move_w = 1;
  p.spread_h = static_cast<int>(s.stride_h);
  p.spread_w = static_cast<int>(s.stride_w);
  p.patch_w = static_cast<int>(s.kernel_w);
  p.per_patch_pixel = Divider(s.channels);
  p.per_patch_line = Divider(s.kernel_w);
  run_gather<Math>(p, y, filter, s.batch, s.out_height, s.out_width, 1, 1, 1);
}

// The filter taps that pixels of one remainder of the stride meet, and where they lead.
struct Meeting {
  int first = 0, step = 1, taps = 0;
  int origin = 0, move = 0;  // row i, tap t of them: row i + origin + t * move of y
  Meeting(std::int64_t remainder, std::int64_t kernel, std::int64_t stride, std::int64_t pad,
          std::int64_t dilation) {
    step = static_cast<int>(stride / std::gcd(stride, dilation));
    for (std::int64_t r = 0; r < kernel; ++r) {
      if ((remainder + pad - r * dilation) % stride != 0) continue;
      if (taps++ > 0) continue;
      first = static_cast<int>(r);
      origin = static_cast<int>((remainder + pad - r * dilation) / stride);
    }
    move = -static_cast<int>(step * dilation / stride);
  }
};

}  // namespace

template <class Math>
void conv_forward(const ConvShape& s, const Tensor& x, const Tensor& w, const Tensor& bias,
                  const Tensor& residual, bool relu, const Tensor& y) {
  using T = typename Math::Element;
  if (y.numel() == 0) return;
  GatherProduct<T> p =
      gather_product_of<T>(x, s.height, s.width, w, bias, y, s.out_height, s.out_width, s.taps(),
                           s.kernel_w, s.group_in(), s.group_out());
  p.residual = residual.defined() ? residual.device_data<T>() : nullptr;
  p.residual_pixel = residual.defined() ? residual.pixel_stride() : 0;
  p.relu = relu;
  p.move_h = static_cast<int>(s.stride_h);
  p.move_w = static_cast<int>(s.stride_w);
  p.origin_h = -static_cast<int>(s.pad_h);
  p.origin_w = -static_cast<int>(s.pad_w);
  p.tap_h = static_cast<int>(s.dilation_h);
  p.tap_w = static_cast<int>(s.dilation_w);
  p.spread_h = p.spread_w = p.step_r = p.step_s = 1;
  run_gather<Math>(p, x, w, s.batch, s.out_height, s.out_width, s.kernel_h, s.kernel_w, s.groups);
}

template <class Math>
void conv_adjoint(const ConvShape& s, const Tensor& y, const Tensor& w, const Tensor& bias,
                  const Tensor& x) {
  using T = typename Math::Element;
  if (x.numel() == 0) return;
  if (side_by_side(s)) return patch_adjoint<Math>(s, y, w, bias, x);
  const Tensor filter =
      passes::transposed_filter(w, s.groups, s.group_out(), s.taps(), s.group_in());
  GatherProduct<T> p =
      gather_product_of<T>(y, s.out_height, s.out_width, filter, bias, x, s.height, s.width,
                           s.taps(), s.kernel_w, s.group_out(), s.group_in());
  p.move_h = p.move_w = 1;
  p.spread_h = static_cast<int>(s.stride_h);
  p.spread_w = static_cast<int>(s.stride_w);
  for (std::int64_t i = 0; i < std::min(s.stride_h, s.height); ++i) {
    for (std::int64_t j = 0; j < std::min(s.stride_w, s.width); ++j) {
      const Meeting v(i, s.kernel_h, s.stride_h, s.pad_h, s.dilation_h);
      const Meeting h(j, s.kernel_w, s.stride_w, s.pad_w, s.dilation_w);
      p.first_h = static_cast<int>(i);
      p.first_w = static_cast<int>(j);
      p.origin_h = v.origin;
      p.origin_w = h.origin;
      p.tap_h = v.move;
      p.tap_w = h.move;
      p.first_r = v.first;
      p.step_r = v.step;
      p.first_s = h.first;
      p.step_s = h.step;
      run_gather<Math>(p, y, filter, s.batch, (s.height - i + s.stride_h - 1) / s.stride_h,
                       (s.width - j + s.stride_w - 1) / s.stride_w, v.taps, h.taps, s.groups);
    }
  }
}

}  // namespace mma
}  // namespace THORAX_GPU
}  // namespace thorax
