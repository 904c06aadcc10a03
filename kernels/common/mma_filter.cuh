// Filter gradient as an implicit matrix product on tensor cores:
//
//   dw[k, j] = sum over pixels m of dy[m, k] * x[pixel(m) moved by tap(j), channel(j)]
//
// j = (tap, channel), the channel fastest: the row of dw as it lies in memory. Both operands have
// the depth (pixels) outermost, so their fragments are loaded transposed. The sum over pixels is
// split between blocks; each writes sums of its own, and sum_parts adds them in order: the result
// does not depend on which block ends first.
//
// A block of 128 threads owns kM outputs x kN columns of dw. A tile row is one pixel; a thread
// brings the same chunk of 16 bytes of several pixels, so that it decodes its columns once.
#pragma once

#include <numeric>

#include "kernels/common/mma_core.cuh"

namespace thorax {
namespace THORAX_GPU {
namespace mma {

template <class T>
struct FilterProduct {
  const T* dy;
  std::int64_t dy_pixel;
  const T* x;
  std::int64_t x_pixel, x_image;
  int height, width;
  int pixels, pixels_per_part, parts;
  Divider per_image, per_line;
  int stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
  int outputs, channels, columns;  // of a group; columns = taps * channels
  Divider per_tap, per_tap_line;
  float* result;  // parts x (groups * outputs) x columns
  std::int64_t result_part;
};

namespace {

// Chunks of a row of 32-bit elements are permuted for fragments that are read element by element:
// a warp reads two neighbouring chunks of four consecutive rows.
template <class T, int Chunks>
__device__ __forceinline__ int filter_place(int row, int chunk) {
  if constexpr (sizeof(T) == 2) {
    return swizzled<Chunks>(row, chunk);
  } else {
    return (row * Chunks + (chunk ^ row % 4 * 2)) * 16;
  }
}

template <class Math, class Tile, int Bytes>
struct FilterReader {
  using T = typename Math::Element;
  static constexpr int kChunk = 16 / static_cast<int>(sizeof(T));
  static constexpr int kPieces = 16 / Bytes, kPiece = kChunk / kPieces;
  static constexpr int kStep = 64 / static_cast<int>(sizeof(T));  // pixels
  static constexpr int kChunksA = Tile::kM / kChunk, kChunksB = Tile::kN / kChunk;
  static constexpr int kRowsA = Tile::kThreads / kChunksA, kRowsB = Tile::kThreads / kChunksB;
  static constexpr int kA = kStep / kRowsA, kB = kStep / kRowsB;
  static constexpr int kStageBytes = (kChunksA + kChunksB) * kStep * 16;
  static_assert(kA * kRowsA == kStep && kB * kRowsB == kStep);

  int thread;
  const T* dy;
  int outputs_here;  // of its chunk of dy
  const T* x;
  int tap_h[kPieces], tap_w[kPieces], channel[kPieces];  // of its pieces of x; channel -1: none

  __device__ __forceinline__ FilterReader(const FilterProduct<T>& p, int group, int thread_)
      : thread(thread_) {
    const int k = static_cast<int>(blockIdx.y) * Tile::kM + thread % kChunksA * kChunk;
    outputs_here = p.outputs - k;
    dy = p.dy + static_cast<std::int64_t>(group) * p.outputs + k;
    x = p.x + static_cast<std::int64_t>(group) * p.channels;
#pragma unroll
    for (int piece = 0; piece < kPieces; ++piece) {
      const int j =
          static_cast<int>(blockIdx.x) * Tile::kN + thread % kChunksB * kChunk + piece * kPiece;
      const int tap = p.per_tap.quotient(j), line = p.per_tap_line.quotient(tap);
      tap_h[piece] = line * p.dilation_h - p.pad_h;
      tap_w[piece] =
          (tap - line * static_cast<int>(p.per_tap_line.divisor)) * p.dilation_w - p.pad_w;
      channel[piece] = j < p.columns ? j - tap * p.channels : -1;
    }
  }

  // Calls a(i, piece, address, inside) and b(...) for its pieces of the pixels first, first + 1,
  // ... of which those before `end` count.
  template <class A, class B>
  __device__ __forceinline__ void read(const FilterProduct<T>& p, int first, int end, A&& a,
                                       B&& b) const {
#pragma unroll
    for (int i = 0; i < kA; ++i) {
      const int m = first + thread / kChunksA + i * kRowsA;
#pragma unroll
      for (int piece = 0; piece < kPieces; ++piece) {
        const bool inside = m < end && piece * kPiece < outputs_here;
        a(i, piece, inside ? dy + static_cast<std::int64_t>(m) * p.dy_pixel + piece * kPiece : p.dy,
          inside);
      }
    }
#pragma unroll
    for (int i = 0; i < kB; ++i) {
      const int m = first + thread / kChunksB + i * kRowsB;
      const int n = p.per_image.quotient(m);
      const int at = m - n * static_cast<int>(p.per_image.divisor);
      const int line = p.per_line.quotient(at);
      const int h = line * p.stride_h;
      const int w = (at - line * static_cast<int>(p.per_line.divisor)) * p.stride_w;
#pragma unroll
      for (int piece = 0; piece < kPieces; ++piece) {
        const int from_h = h + tap_h[piece], from_w = w + tap_w[piece];
        const bool inside = m < end && channel[piece] >= 0 &&
                            static_cast<unsigned>(from_h) < static_cast<unsigned>(p.height) &&
                            static_cast<unsigned>(from_w) < static_cast<unsigned>(p.width);
        b(i, piece,
          inside ? x + n * p.x_image +
                       static_cast<std::int64_t>(from_h * p.width + from_w) * p.x_pixel +
                       channel[piece]
                 : p.x,
          inside);
      }
    }
  }

  __device__ __forceinline__ int place_a(int i) const {
    return filter_place<T, kChunksA>(thread / kChunksA + i * kRowsA, thread % kChunksA);
  }
  __device__ __forceinline__ int place_b(int i) const {
    return kChunksA * kStep * 16 +
           filter_place<T, kChunksB>(thread / kChunksB + i * kRowsB, thread % kChunksB);
  }
};

template <class Math, class Tile, int Bytes>
struct FilterSums {
  using T = typename Math::Element;
  using Reader = FilterReader<Math, Tile, Bytes>;
  static constexpr int kM = Tile::kWarpM / 16, kN = Tile::kWarpN / 8;
  static constexpr int kFragment = 32 / static_cast<int>(sizeof(T));  // pixels of a product
  float c[kM][kN][4];
  int lane, warp_m, warp_n;

  __device__ __forceinline__ explicit FilterSums(int thread) {
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

  // Element (pixel, column) of a tile of 32-bit elements.
  template <int Chunks>
  static __device__ __forceinline__ unsigned word(const unsigned char* tile, int pixel,
                                                  int column) {
    return *reinterpret_cast<const unsigned*>(tile + filter_place<T, Chunks>(pixel, column / 4) +
                                              column % 4 * 4);
  }

  __device__ __forceinline__ void load_a(unsigned (&a)[4], const unsigned char* tile, int k,
                                         int m) const {
    if constexpr (sizeof(T) == 2) {
      const int matrix = lane / 8, line = lane % 8;
      ptx::ldmatrix_transposed(a, tile + filter_place<T, Reader::kChunksA>(
                                             k + matrix / 2 * 8 + line, m / 8 + matrix % 2));
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i)
        a[i] = operand<Math>(
            word<Reader::kChunksA>(tile, k + lane % 4 + i / 2 * 4, m + lane / 4 + i % 2 * 8));
    }
  }
  // Two fragments of 8 columns.
  __device__ __forceinline__ void load_b(unsigned (&b)[2][2], const unsigned char* tile, int k,
                                         int n) const {
    if constexpr (sizeof(T) == 2) {
      const int matrix = lane / 8, line = lane % 8;
      unsigned four[4];
      ptx::ldmatrix_transposed(four, tile + filter_place<T, Reader::kChunksB>(
                                                k + matrix % 2 * 8 + line, n / 8 + matrix / 2));
#pragma unroll
      for (int i = 0; i < 4; ++i) b[i / 2][i % 2] = four[i];
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i)
        b[i / 2][i % 2] = operand<Math>(
            word<Reader::kChunksB>(tile, k + lane % 4 + i % 2 * 4, n + lane / 4 + i / 2 * 8));
    }
  }

  __device__ __forceinline__ void add(const unsigned char* stage) {
#pragma unroll
    for (int k = 0; k < Reader::kStep; k += kFragment) {
      unsigned b[kN / 2][2][2];
#pragma unroll
      for (int n = 0; n < kN / 2; ++n)
        load_b(b[n], stage + Reader::kChunksA * Reader::kStep * 16, k, warp_n + n * 16);
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        unsigned a[4];
        load_a(a, stage, k, warp_m + m * 16);
#pragma unroll
        for (int n = 0; n < kN; ++n) Math::multiply(c[m][n], a, b[n / 2][n % 2]);
      }
    }
  }

  __device__ __forceinline__ void store(const FilterProduct<T>& p, int group, int part) const {
    float* const to =
        p.result + part * p.result_part + static_cast<std::int64_t>(group) * p.outputs * p.columns;
#pragma unroll
    for (int half = 0; half < 2 * kM; ++half) {
      const int k = static_cast<int>(blockIdx.y) * Tile::kM + warp_m + half * 8 + lane / 4;
      if (k >= p.outputs) continue;
#pragma unroll
      for (int n = 0; n < kN; ++n) {
        const int j = static_cast<int>(blockIdx.x) * Tile::kN + warp_n + n * 8 + lane % 4 * 2;
#pragma unroll
        for (int i = 0; i < 2; ++i)
          if (j + i < p.columns)
            to[static_cast<std::int64_t>(k) * p.columns + j + i] = c[half / 2][n][half % 2 * 2 + i];
      }
    }
  }
};

template <class Math, class Tile, int Bytes>
__global__ void __launch_bounds__(Tile::kThreads, 3)
    filter_product(FilterProduct<typename Math::Element> p) {
  using Reader = FilterReader<Math, Tile, Bytes>;
  unsigned char* const memory = dynamic_shared<unsigned char>();
  const int thread = static_cast<int>(threadIdx.x);
  const int group = static_cast<int>(blockIdx.z) / p.parts;
  const int part = static_cast<int>(blockIdx.z) % p.parts;
  const Reader reader(p, group, thread);
  FilterSums<Math, Tile, Bytes> sums(thread);
  const int first = part * p.pixels_per_part;
  const int end = min(p.pixels, first + p.pixels_per_part);
  const int steps = (end - first + Reader::kStep - 1) / Reader::kStep;
  add_steps<Math, Bytes>(
      memory, steps, reader,
      [&](int step, const auto& to_a, const auto& to_b) {
        reader.read(p, first + step * Reader::kStep, end, to_a, to_b);
      },
      sums);
  sums.store(p, group, part);
}

template <class Math, class Tile, int Bytes>
void launch_filter(FilterProduct<typename Math::Element>& p, std::int64_t groups,
                   const Tensor& dw) {
  using Reader = FilterReader<Math, Tile, Bytes>;
  const unsigned across = blocks_for(p.columns, Tile::kN), down = blocks_for(p.outputs, Tile::kM);
  const std::int64_t wanted = passes::parts_for(std::int64_t{across} * down * groups, p.pixels, 256,
                                                dw.numel(), 65535 / groups, dw.device());
  p.pixels_per_part =
      static_cast<int>(blocks_for(p.pixels, wanted * Reader::kStep)) * Reader::kStep;
  p.parts = static_cast<int>(blocks_for(p.pixels, p.pixels_per_part));
  Tensor sums = dw;
  if (p.parts > 1) {
    const Shape shape{std::int64_t{p.parts}, dw.numel()};
    sums = Tensor::empty(shape, DType::f32, dw.device());
  }
  p.result = sums.device_data<float>();
  p.result_part = dw.numel();
  launch(THORAX_KERNEL(filter_product<Math, Tile, Bytes>), dw.device(),
         {dim3(across, down, static_cast<unsigned>(groups * p.parts)), dim3(Tile::kThreads),
          Math::kStages * Reader::kStageBytes},
         p);
  if (p.parts > 1) passes::sum_parts(sums, dw);
}

}  // namespace

template <class Math>
void conv_filter_gradient(const ConvShape& s, const Tensor& x, const Tensor& dy, const Tensor& dw) {
  using T = typename Math::Element;
  if (dy.numel() == 0 || dw.numel() == 0) {
    dw.fill(0);
    return;
  }
  FilterProduct<T> p{};
  p.dy = dy.device_data<T>();
  p.dy_pixel = dy.pixel_stride();
  p.x = x.device_data<T>();
  p.x_pixel = x.pixel_stride();
  p.x_image = s.height * s.width * x.pixel_stride();
  p.height = static_cast<int>(s.height);
  p.width = static_cast<int>(s.width);
  p.pixels = static_cast<int>(s.out_pixels());
  p.per_image = Divider(s.out_height * s.out_width);
  p.per_line = Divider(s.out_width);
  p.stride_h = static_cast<int>(s.stride_h);
  p.stride_w = static_cast<int>(s.stride_w);
  p.pad_h = static_cast<int>(s.pad_h);
  p.pad_w = static_cast<int>(s.pad_w);
  p.dilation_h = static_cast<int>(s.dilation_h);
  p.dilation_w = static_cast<int>(s.dilation_w);
  p.outputs = static_cast<int>(s.group_out());
  p.channels = static_cast<int>(s.group_in());
  p.columns = static_cast<int>(s.taps()) * p.channels;
  p.per_tap = Divider(p.channels);
  p.per_tap_line = Divider(s.kernel_w);
  // One width for both operands: pieces must divide the channels of x and of dy.
  with_piece<T>(std::gcd(p.outputs, p.channels), {&dy, &x}, [&](auto bytes) {
    constexpr int kBytes = decltype(bytes)::value;
    if (p.outputs > 32) {
      launch_filter<Math, Tile<64, 64, 32, 32>, kBytes>(p, s.groups, dw);
    } else {
      launch_filter<Math, Tile<32, 128, 32, 32>, kBytes>(p, s.groups, dw);
    }
  });
}

}  // namespace mma
}  // namespace THORAX_GPU
}  // namespace thorax
