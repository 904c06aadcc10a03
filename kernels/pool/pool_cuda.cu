// Pooling, one thread per pixel and group of channels (16 bytes where shapes and slices allow):
//   forward   an output pixel: its window's groups, tap by tap. Neighbouring windows overlap in the
//             caches, so memory sees x once.
//   forward, large windows (the global average): a block per output pixel and 32 groups, whose 8
//             rows of threads share the window's taps; a thread alone would walk all of them.
//   backward  an input pixel gathers from the windows that cover it, in order: no atomics.
//   backward, max 2 x 2 stride 2 (the UNet's): a thread reads one dy and its argmax bytes once and
//             writes the four pixels below.
#include "kernels/common/elementwise.cuh"
#include "kernels/common/reduce.cuh"
#include "kernels/common/vec.cuh"
#include "kernels/pool/pool.h"

namespace thorax {
namespace THORAX_GPU {
namespace {

constexpr int kLargeWindow = 32;  // taps from which a block shares a window
constexpr int kLargeColumns = 32, kLargeRows = 8;

// PoolProblem for a kernel.
struct Windows {
  int height, width, out_height, out_width, kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w;
  bool include_pad;
  explicit Windows(const PoolProblem& p)
      : height(static_cast<int>(p.height)),
        width(static_cast<int>(p.width)),
        out_height(static_cast<int>(p.out_height())),
        out_width(static_cast<int>(p.out_width())),
        kernel_h(static_cast<int>(p.kernel_h)),
        kernel_w(static_cast<int>(p.kernel_w)),
        stride_h(static_cast<int>(p.stride_h)),
        stride_w(static_cast<int>(p.stride_w)),
        pad_h(static_cast<int>(p.pad_h)),
        pad_w(static_cast<int>(p.pad_w)),
        include_pad(p.count_include_pad) {}
};

// PoolWindow of one axis: [begin, end) in the image; `start` with and `padded` size of the padding.
struct Span {
  int start, begin, end, padded;
  __device__ Span(int position, int size, int kernel, int stride, int pad)
      : start(position * stride - pad),
        begin(max(start, 0)),
        end(min(start + kernel, size)),
        padded(min(start + kernel, size + pad) - start) {}
};
__device__ inline Span rows_of(const Windows& w, int p) {
  return {p, w.height, w.kernel_h, w.stride_h, w.pad_h};
}
__device__ inline Span columns_of(const Windows& w, int q) {
  return {q, w.width, w.kernel_w, w.stride_w, w.pad_w};
}
__device__ inline float divisor(const Windows& w, const Span& rows, const Span& columns) {
  return static_cast<float>(w.include_pad
                                ? rows.padded * columns.padded
                                : (rows.end - rows.begin) * (columns.end - columns.begin));
}

// Windows [first, last) along one axis that cover `position`.
struct Cover {
  int first, last;
  __device__ Cover(int position, int kernel, int stride, int pad, int count) {
    const int from = position + pad - kernel + 1;
    first = from <= 0 ? 0 : (from + stride - 1) / stride;
    last = min(count, (position + pad) / stride + 1);
  }
};

// Calls tap(pixel of x, tap number) for the window's pixels inside the image, in row order.
template <class Tap>
__device__ inline void for_taps(const Windows& w, std::int64_t image, const Span& rows,
                                const Span& columns, const Tap& tap) {
  for (int h = rows.begin; h < rows.end; ++h) {
    const std::int64_t line = (image * w.height + h) * w.width;
    const int first = (h - rows.start) * w.kernel_w - columns.start;
    for (int q = columns.begin; q < columns.end; ++q) tap(line + q, first + q);
  }
}

template <class T, int N>
__global__ void max_pool_forward(ImageGroups grid, Windows w, Pixels<const T> x, Pixels<T> y,
                                 Pixels<std::uint8_t> argmax) {
  const std::int64_t i = thread_index();
  if (i >= grid.count()) return;
  const ImagePlace at = grid.place(i);
  const Span rows = rows_of(w, static_cast<int>(at.row)),
             columns = columns_of(w, static_cast<int>(at.column));
  Floats<N> best = broadcast<N>(-INFINITY);
  const int corner = (rows.begin - rows.start) * w.kernel_w + columns.begin - columns.start;
  int taps[N];
#pragma unroll
  for (int k = 0; k < N; ++k) taps[k] = corner;
  for_taps(w, at.image, rows, columns, [&](std::int64_t pixel, int tap) {
    const Floats<N> v = load<N>(x.at(pixel, at.group * N));
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const bool wins = v[k] > best[k] || v[k] != v[k];  // a NaN wins
      best[k] = wins ? v[k] : best[k];
      taps[k] = wins ? tap : taps[k];
    }
  });
  const std::int64_t pixel = (at.image * w.out_height + at.row) * w.out_width + at.column;
  store(y.at(pixel, at.group * N), best);
  if (argmax.data != nullptr) {
    Vec<std::uint8_t, N> bytes;
#pragma unroll
    for (int k = 0; k < N; ++k) bytes[k] = static_cast<std::uint8_t>(taps[k]);
    store_raw<N>(argmax.at(pixel, at.group * N), bytes);
  }
}

template <class T, int N>
__global__ void average_pool_forward(ImageGroups grid, Windows w, Pixels<const T> x, Pixels<T> y) {
  const std::int64_t i = thread_index();
  if (i >= grid.count()) return;
  const ImagePlace at = grid.place(i);
  const Span rows = rows_of(w, static_cast<int>(at.row)),
             columns = columns_of(w, static_cast<int>(at.column));
  Floats<N> sum = broadcast<N>(0);
  for_taps(w, at.image, rows, columns, [&](std::int64_t pixel, int) {
    const Floats<N> v = load<N>(x.at(pixel, at.group * N));
#pragma unroll
    for (int k = 0; k < N; ++k) sum[k] += v[k];
  });
  const float count = divisor(w, rows, columns);
#pragma unroll
  for (int k = 0; k < N; ++k) sum[k] /= count;
  store(y.at((at.image * w.out_height + at.row) * w.out_width + at.column, at.group * N), sum);
}

template <int N>
struct LargeSums {
  float values[kLargeRows][kLargeColumns * N];
};
// blockIdx.x: output pixel; blockIdx.y: 32 groups of channels.
template <class T, int N>
__global__ void average_pool_forward_large(Division out_columns, Division out_rows, int groups,
                                           Windows w, Pixels<const T> x, Pixels<T> y) {
  THORAX_SHARED(LargeSums<N>, shared);
  std::int64_t p, q;
  const std::int64_t image = out_rows.divide(out_columns.divide(blockIdx.x, q), p);
  const Span rows = rows_of(w, static_cast<int>(p)), columns = columns_of(w, static_cast<int>(q));
  const int group = static_cast<int>(blockIdx.y * kLargeColumns + threadIdx.x);
  const int window_width = columns.end - columns.begin;
  const int taps = (rows.end - rows.begin) * window_width;
  Floats<N> sum = broadcast<N>(0);
  if (group < groups) {
    for (int tap = static_cast<int>(threadIdx.y); tap < taps; tap += kLargeRows) {
      const std::int64_t h = rows.begin + tap / window_width,
                         column = columns.begin + tap % window_width;
      const Floats<N> v = load<N>(
          x.at((image * w.height + h) * w.width + column, static_cast<std::int64_t>(group) * N));
#pragma unroll
      for (int k = 0; k < N; ++k) sum[k] += v[k];
    }
  }
  float* column = &shared.values[0][threadIdx.x * N];
#pragma unroll
  for (int k = 0; k < N; ++k) shared.values[threadIdx.y][threadIdx.x * N + k] = sum[k];
  sum_rows<N>(column, kLargeColumns * N);
  if (threadIdx.y != 0 || group >= groups) return;
  const float count = divisor(w, rows, columns);
#pragma unroll
  for (int k = 0; k < N; ++k) sum[k] = column[k] / count;
  store(y.at(blockIdx.x, static_cast<std::int64_t>(group) * N), sum);
}

// One thread per input pixel.
template <bool kMax, class T, int N>
__global__ void pool_backward(ImageGroups grid, Windows w, Pixels<const T> dy,
                              Pixels<const std::uint8_t> argmax, Pixels<T> dx) {
  const std::int64_t i = thread_index();
  if (i >= grid.count()) return;
  const ImagePlace at = grid.place(i);
  const int h = static_cast<int>(at.row), column = static_cast<int>(at.column);
  const Cover ps(h, w.kernel_h, w.stride_h, w.pad_h, w.out_height);
  const Cover qs(column, w.kernel_w, w.stride_w, w.pad_w, w.out_width);
  Floats<N> sum = broadcast<N>(0);
  for (int p = ps.first; p < ps.last; ++p) {
    for (int q = qs.first; q < qs.last; ++q) {
      const std::int64_t pixel = (at.image * w.out_height + p) * w.out_width + q;
      const Floats<N> g = load<N>(dy.at(pixel, at.group * N));
      if constexpr (kMax) {
        const int tap =
            (h - p * w.stride_h + w.pad_h) * w.kernel_w + column - q * w.stride_w + w.pad_w;
        const Vec<std::uint8_t, N> taps = load_raw<N>(argmax.at(pixel, at.group * N));
#pragma unroll
        for (int k = 0; k < N; ++k) sum[k] += taps[k] == tap ? g[k] : 0.0f;
      } else {
        const float weight = 1.0f / divisor(w, rows_of(w, p), columns_of(w, q));
#pragma unroll
        for (int k = 0; k < N; ++k) sum[k] = fmaf(g[k], weight, sum[k]);
      }
    }
  }
  store(dx.at((at.image * w.height + h) * w.width + column, at.group * N), sum);
}

// One thread per square of 2 x 2 input pixels; the grid covers the image rounded up.
template <class T, int N>
__global__ void max_pool_2x2_backward(ImageGroups grid, Windows w, Pixels<const T> dy,
                                      Pixels<const std::uint8_t> argmax, Pixels<T> dx) {
  const std::int64_t i = thread_index();
  if (i >= grid.count()) return;
  const ImagePlace at = grid.place(i);
  const bool covered = at.row < w.out_height && at.column < w.out_width;
  Floats<N> g = broadcast<N>(0);
  Vec<std::uint8_t, N> taps{};
  if (covered) {
    const std::int64_t pixel = (at.image * w.out_height + at.row) * w.out_width + at.column;
    g = load<N>(dy.at(pixel, at.group * N));
    taps = load_raw<N>(argmax.at(pixel, at.group * N));
  }
#pragma unroll
  for (int tap = 0; tap < 4; ++tap) {
    const std::int64_t h = 2 * at.row + tap / 2, column = 2 * at.column + tap % 2;
    if (h >= w.height || column >= w.width) continue;
    Floats<N> out;
#pragma unroll
    for (int k = 0; k < N; ++k) out[k] = taps[k] == tap ? g[k] : 0.0f;
    store(dx.at((at.image * w.height + h) * w.width + column, at.group * N), out);
  }
}

bool is_2x2(const PoolProblem& pr) {
  return pr.kernel_h == 2 && pr.kernel_w == 2 && pr.stride_h == 2 && pr.stride_w == 2 &&
         pr.pad_h == 0 && pr.pad_w == 0 && 2 * pr.out_height() <= pr.height &&
         2 * pr.out_width() <= pr.width;
}

void forward(const PoolProblem& pr, const Tensor& x, const Tensor& y, const Tensor& argmax) {
  if (y.numel() == 0) return;
  const Windows windows(pr);
  dispatch_activation(pr.dtype, [&](auto tag) {
    using T = decltype(tag);
    with_width<T>(
        std::max(x.pixels(), y.pixels()), pr.channels, {&x, &y, &argmax}, [&](auto width) {
          constexpr int N = decltype(width)::value;
          const ImageGroups grid(pr.batch, windows.out_height, windows.out_width, pr.channels, N);
          if (pr.kind == PoolKind::max) {
            launch(THORAX_KERNEL(max_pool_forward<T, N>), x.device(), one_thread_each(grid.count()),
                   grid, windows, Pixels<const T>(x), Pixels<T>(y), Pixels<std::uint8_t>(argmax));
          } else if (pr.kernel_h * pr.kernel_w >= kLargeWindow) {
            const std::int64_t groups = pr.channels / N;
            launch(THORAX_KERNEL(average_pool_forward_large<T, N>), x.device(),
                   {dim3(static_cast<unsigned>(y.pixels()), blocks_for(groups, kLargeColumns)),
                    dim3(kLargeColumns, kLargeRows)},
                   Division(windows.out_width, y.pixels()),
                   Division(windows.out_height, y.pixels()), static_cast<int>(groups), windows,
                   Pixels<const T>(x), Pixels<T>(y));
          } else {
            launch(THORAX_KERNEL(average_pool_forward<T, N>), x.device(),
                   one_thread_each(grid.count()), grid, windows, Pixels<const T>(x), Pixels<T>(y));
          }
        });
  });
}

void backward(const PoolProblem& pr, const Tensor& dy, const Tensor& argmax, const Tensor& dx) {
  if (dx.numel() == 0) return;
  const Windows windows(pr);
  const bool squares = pr.kind == PoolKind::max && is_2x2(pr);
  const Tensor taps = pr.kind == PoolKind::max ? argmax : Tensor{};
  dispatch_activation(pr.dtype, [&](auto tag) {
    using T = decltype(tag);
    with_width<T>(std::max(dx.pixels(), dy.pixels()), pr.channels, {&dy, &taps, &dx},
                  [&](auto width) {
                    constexpr int N = decltype(width)::value;
                    const auto run = [&](auto kernel, std::int64_t height, std::int64_t columns) {
                      const ImageGroups grid(pr.batch, height, columns, pr.channels, N);
                      launch(kernel, dx.device(), one_thread_each(grid.count()), grid, windows,
                             Pixels<const T>(dy), Pixels<const std::uint8_t>(taps), Pixels<T>(dx));
                    };
                    if (squares)
                      run(THORAX_KERNEL(max_pool_2x2_backward<T, N>), (pr.height + 1) / 2,
                          (pr.width + 1) / 2);
                    else if (pr.kind == PoolKind::max)
                      run(THORAX_KERNEL(pool_backward<true, T, N>), pr.height, pr.width);
                    else
                      run(THORAX_KERNEL(pool_backward<false, T, N>), pr.height, pr.width);
                  });
  });
}

int priority(const PoolProblem& p) {
  // A block for every large window: the grid's limit. Sizes are ints in the kernels.
  constexpr std::int64_t kLimit = std::int64_t{1} << 31;
  const bool fits = p.height < kLimit && p.width < kLimit &&
                    p.batch * p.out_height() * p.out_width() < kLimit &&
                    p.channels < std::int64_t{65535} * kLargeColumns;
  return is_activation_type(p.dtype) && fits ? 10 : -1;
}

}  // namespace

THORAX_PROVIDER(pool_cuda, pool_providers(),
                {.name = "cuda",
                 .device = THORAX_GPU_KIND,
                 .priority = priority,
                 .forward = forward,
                 .backward = backward});

}  // namespace THORAX_GPU
}  // namespace thorax
