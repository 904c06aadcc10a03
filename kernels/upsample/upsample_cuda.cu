// Upsampling, one thread per pixel and group of channels (16 bytes where shapes and slices allow):
//   nearest   forward an output pixel copies; backward an input pixel adds up its square of outputs
//             in row order.
//   bilinear  Where an axis samples is the same for every row, image and channel: a first, tiny
//             kernel computes it in double (as every other provider does) into a table. Forward an
//             output pixel reads two entries of it and four input pixels; backward an input pixel
//             gathers, in order, the rectangle of output pixels that it went into.
// No atomics: each value is written by one thread.
#include "kernels/common/elementwise.cuh"
#include "kernels/common/vec.cuh"
#include "kernels/upsample/upsample.h"

namespace thorax {
namespace THORAX_GPU {
namespace {

// Heights and widths of x and y.
struct Sizes {
  std::int64_t height, width, out_height, out_width;
  explicit Sizes(const UpsampleProblem& p)
      : height(p.height), width(p.width), out_height(p.out_height), out_width(p.out_width) {}
};

template <class T, int N>
__global__ void nearest_upsample_forward(ImageGroups grid, Sizes sizes, Division factor,
                                         Pixels<const T> x, Pixels<T> y) {
  const std::int64_t i = thread_index();
  if (i >= grid.count()) return;
  const ImagePlace at = grid.place(i);
  const std::int64_t from = (at.image * sizes.height + factor.quotient(at.row)) * sizes.width +
                            factor.quotient(at.column);
  const std::int64_t to = (at.image * sizes.out_height + at.row) * sizes.out_width + at.column;
  store_raw<N>(y.at(to, at.group * N), load_raw<N>(x.at(from, at.group * N)));
}

template <class T, int N>
__global__ void nearest_upsample_backward(ImageGroups grid, Sizes sizes, std::int64_t factor,
                                          Pixels<const T> dy, Pixels<T> dx) {
  const std::int64_t i = thread_index();
  if (i >= grid.count()) return;
  const ImagePlace at = grid.place(i);
  Floats<N> sum = broadcast<N>(0);
  for (std::int64_t r = 0; r < factor; ++r) {
    const std::int64_t line =
        (at.image * sizes.out_height + at.row * factor + r) * sizes.out_width + at.column * factor;
    for (std::int64_t s = 0; s < factor; ++s) {
      const Floats<N> g = load<N>(dy.at(line + s, at.group * N));
#pragma unroll
      for (int k = 0; k < N; ++k) sum[k] += g[k];
    }
  }
  store(dx.at((at.image * sizes.height + at.row) * sizes.width + at.column, at.group * N), sum);
}

// Of an output position: the two input positions and their weights. A position of weight 0 is the
// other one, and not looked at: it may hold an infinity.
struct Sample {
  std::int32_t low, high;
  float low_weight, high_weight;
};
__device__ inline Sample sample_at(std::int64_t position, std::int64_t size, std::int64_t out_size,
                                   bool align_corners) {
  const SamplePoint p = sample_point(position, size, out_size, align_corners);
  const bool one = p.fraction == 0 || p.low == p.high;
  return {static_cast<std::int32_t>(p.low), static_cast<std::int32_t>(one ? p.low : p.high),
          one ? 1.0f : static_cast<float>(1 - p.fraction),
          one ? 0.0f : static_cast<float>(p.fraction)};
}

// samples[0, out_size): the samples. uses[0, size): for each input position the output positions
// [first, last) that it goes into, found by bisection: samples never go back.
struct Use {
  std::int32_t first, last;
};
struct AxisTable {
  Sample* samples;
  Use* uses;
  std::int64_t size, out_size;
};
__global__ void bilinear_tables(AxisTable rows, AxisTable columns, bool align_corners) {
  const AxisTable axis = blockIdx.y == 0 ? rows : columns;
  const std::int64_t i = thread_index();
  if (i < axis.out_size) axis.samples[i] = sample_at(i, axis.size, axis.out_size, align_corners);
  if (i >= axis.size) return;
  // The first output position with inside(sample).
  const auto bisect = [&](bool above_low) {
    std::int64_t begin = 0, end = axis.out_size;
    while (begin < end) {
      const std::int64_t middle = (begin + end) / 2;
      const Sample s = sample_at(middle, axis.size, axis.out_size, align_corners);
      if (above_low ? s.low > i : s.high >= i)
        end = middle;
      else
        begin = middle + 1;
    }
    return static_cast<std::int32_t>(begin);
  };
  axis.uses[i] = {bisect(false), bisect(true)};
}

template <class T, int N>
__global__ void bilinear_upsample_forward(ImageGroups grid, Sizes sizes, const Sample* rows,
                                          const Sample* columns, Pixels<const T> x, Pixels<T> y) {
  const std::int64_t i = thread_index();
  if (i >= grid.count()) return;
  const ImagePlace at = grid.place(i);
  const Sample r = rows[at.row], s = columns[at.column];
  Floats<N> sum = broadcast<N>(0);
  const auto add = [&](std::int64_t h, std::int64_t w, float weight) {
    if (weight == 0) return;
    const Floats<N> v =
        load<N>(x.at((at.image * sizes.height + h) * sizes.width + w, at.group * N));
#pragma unroll
    for (int k = 0; k < N; ++k) sum[k] = fmaf(v[k], weight, sum[k]);
  };
  add(r.low, s.low, r.low_weight * s.low_weight);
  add(r.low, s.high, r.low_weight * s.high_weight);
  add(r.high, s.low, r.high_weight * s.low_weight);
  add(r.high, s.high, r.high_weight * s.high_weight);
  store(y.at((at.image * sizes.out_height + at.row) * sizes.out_width + at.column, at.group * N),
        sum);
}

// The weight of input position `i` in a sample that it is part of.
__device__ inline float weight_of(const Sample& s, std::int64_t i) {
  return s.low == i ? s.low_weight : s.high_weight;
}

template <class T, int N>
__global__ void bilinear_upsample_backward(ImageGroups grid, Sizes sizes, AxisTable rows,
                                           AxisTable columns, Pixels<const T> dy, Pixels<T> dx) {
  const std::int64_t i = thread_index();
  if (i >= grid.count()) return;
  const ImagePlace at = grid.place(i);
  const Use ps = rows.uses[at.row], qs = columns.uses[at.column];
  Floats<N> sum = broadcast<N>(0);
  for (std::int32_t p = ps.first; p < ps.last; ++p) {
    const float row_weight = weight_of(rows.samples[p], at.row);
    const std::int64_t line = (at.image * sizes.out_height + p) * sizes.out_width;
    for (std::int32_t q = qs.first; q < qs.last; ++q) {
      const float weight = row_weight * weight_of(columns.samples[q], at.column);
      const Floats<N> g = load<N>(dy.at(line + q, at.group * N));
#pragma unroll
      for (int k = 0; k < N; ++k) sum[k] = fmaf(g[k], weight, sum[k]);
    }
  }
  store(dx.at((at.image * sizes.height + at.row) * sizes.width + at.column, at.group * N), sum);
}

// The tables of a problem, in memory of the device.
struct Tables {
  Tensor memory;
  AxisTable rows{}, columns{};
  Tables(const UpsampleProblem& pr, Device device) {
    const std::int64_t samples = pr.out_height + pr.out_width, uses = pr.height + pr.width;
    const auto bytes = [](std::int64_t count, std::size_t size) {
      return count * static_cast<std::int64_t>(size);
    };
    memory = Tensor::empty({bytes(samples, sizeof(Sample)) + bytes(uses, sizeof(Use))}, DType::u8,
                           device);
    auto* first = static_cast<Sample*>(memory.raw());
    auto* first_use = reinterpret_cast<Use*>(first + samples);
    rows = {first, first_use, pr.height, pr.out_height};
    columns = {first + pr.out_height, first_use + pr.height, pr.width, pr.out_width};
    const std::int64_t longest =
        std::max(std::max(pr.height, pr.width), std::max(pr.out_height, pr.out_width));
    launch(THORAX_KERNEL(bilinear_tables), device,
           {dim3(blocks_for(longest, kElementwiseThreads), 2), dim3(kElementwiseThreads)}, rows,
           columns, pr.align_corners);
  }
};

void forward(const UpsampleProblem& pr, const Tensor& x, const Tensor& y) {
  if (y.numel() == 0) return;
  dispatch_activation(pr.dtype, [&](auto tag) {
    using T = decltype(tag);
    with_width<T>(std::max(x.pixels(), y.pixels()), pr.channels, {&x, &y}, [&](auto width) {
      constexpr int N = decltype(width)::value;
      const ImageGroups grid(pr.batch, pr.out_height, pr.out_width, pr.channels, N);
      const Sizes sizes(pr);
      if (pr.mode == UpsampleMode::nearest) {
        const Division factor(pr.factor(), std::max(pr.out_height, pr.out_width));
        launch(THORAX_KERNEL(nearest_upsample_forward<T, N>), x.device(),
               one_thread_each(grid.count()), grid, sizes, factor, Pixels<const T>(x),
               Pixels<T>(y));
      } else {
        const Tables tables(pr, x.device());
        launch(THORAX_KERNEL(bilinear_upsample_forward<T, N>), x.device(),
               one_thread_each(grid.count()), grid, sizes, tables.rows.samples,
               tables.columns.samples, Pixels<const T>(x), Pixels<T>(y));
      }
    });
  });
}

void backward(const UpsampleProblem& pr, const Tensor& dy, const Tensor& dx) {
  if (dx.numel() == 0) return;
  dispatch_activation(pr.dtype, [&](auto tag) {
    using T = decltype(tag);
    with_width<T>(std::max(dx.pixels(), dy.pixels()), pr.channels, {&dy, &dx}, [&](auto width) {
      constexpr int N = decltype(width)::value;
      const ImageGroups grid(pr.batch, pr.height, pr.width, pr.channels, N);
      const Sizes sizes(pr);
      if (pr.mode == UpsampleMode::nearest) {
        launch(THORAX_KERNEL(nearest_upsample_backward<T, N>), dx.device(),
               one_thread_each(grid.count()), grid, sizes, pr.factor(), Pixels<const T>(dy),
               Pixels<T>(dx));
      } else {
        const Tables tables(pr, dx.device());
        launch(THORAX_KERNEL(bilinear_upsample_backward<T, N>), dx.device(),
               one_thread_each(grid.count()), grid, sizes, tables.rows, tables.columns,
               Pixels<const T>(dy), Pixels<T>(dx));
      }
    });
  });
}

int priority(const UpsampleProblem& p) {
  constexpr std::int64_t kLimit = std::int64_t{1} << 31;  // positions in the tables are 32-bit
  const bool fits =
      std::max(std::max(p.height, p.width), std::max(p.out_height, p.out_width)) < kLimit;
  return is_activation_type(p.dtype) && fits ? 10 : -1;
}

}  // namespace

THORAX_PROVIDER(upsample_cuda, upsample_providers(),
                {.name = "cuda",
                 .device = THORAX_GPU_KIND,
                 .priority = priority,
                 .forward = forward,
                 .backward = backward});

}  // namespace THORAX_GPU
}  // namespace thorax
