// Sums in double, in two steps: partial sums, then their sum in order, so that every run gives the
// same bits. Where the elements of a sum lie side by side a warp has one sum; where those of
// neighbouring sums do, a block has 32 sums and its eight rows take turns. Both read along memory.
#include "kernels/common/reduce.cuh"
#include "kernels/common/strided.cuh"
#include "kernels/reduce/reduce.h"
#include "kernels/reduce/reduce_axes.h"

namespace thorax {
namespace THORAX_GPU {
namespace {

constexpr int kWarps = 8;

// Part blockIdx.y of `parts`: elements [begin, end) of each sum.
struct Part {
  std::int64_t begin, end;
  __device__ Part(std::int64_t count, std::int64_t length) {
    begin = static_cast<std::int64_t>(blockIdx.y) * length;
    end = begin + length < count ? begin + length : count;
  }
};

template <class T>
__global__ void reduce_rows(DeviceWalk<1> kept, DeviceWalk<1> summed, std::int64_t part_length,
                            const T* x, double* partial) {
  const std::int64_t m = static_cast<std::int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  if (m >= kept.count) return;  // a whole warp
  const Part part(summed.count, part_length);
  std::int64_t base[1], at[1];
  kept.place(m, base);
  double total = 0;
  for (std::int64_t r = part.begin + threadIdx.x; r < part.end; r += 32) {
    summed.place(r, at);
    total += static_cast<double>(to_float(x[base[0] + at[0]]));
  }
  total = warp_reduce(total, Sum{});
  if (threadIdx.x == 0) partial[blockIdx.y * kept.count + m] = total;
}

struct ColumnSums {
  double values[kWarps][32];
};
template <class T>
__global__ void reduce_columns(DeviceWalk<1> kept, DeviceWalk<1> summed, std::int64_t part_length,
                               const T* x, double* partial) {
  THORAX_SHARED(ColumnSums, sums);
  const std::int64_t m = static_cast<std::int64_t>(blockIdx.x) * 32 + threadIdx.x;
  const Part part(summed.count, part_length);
  double total = 0;
  if (m < kept.count) {
    std::int64_t base[1], at[1];
    kept.place(m, base);
    for (std::int64_t r = part.begin + threadIdx.y; r < part.end; r += kWarps) {
      summed.place(r, at);
      total += static_cast<double>(to_float(x[base[0] + at[0]]));
    }
  }
  sums.values[threadIdx.y][threadIdx.x] = total;
  sum_rows<1>(&sums.values[0][threadIdx.x], 32);
  if (threadIdx.y == 0 && m < kept.count)
    partial[blockIdx.y * kept.count + m] = sums.values[0][threadIdx.x];
}

template <class T>
__global__ void reduce_parts(const double* partial, std::int64_t results, std::int64_t parts,
                             double scale, T* y) {
  const std::int64_t m = thread_index();
  if (m >= results) return;
  double total = 0;
  for (std::int64_t part = 0; part < parts; ++part) total += partial[part * results + m];
  y[m] = from_float<T>(static_cast<float>(scale * total));
}

template <class T, int N>
__global__ void reduce_repeat(DeviceWalk<2> walk, bool repeated, float scale, const T* dy, T* dx) {
  const std::int64_t i = thread_index();
  if (i >= walk.count) return;
  std::int64_t at[2];
  walk.place(i, at);
  Floats<N> v = load_or_repeat<N>(dy + at[0], repeated);
#pragma unroll
  for (int k = 0; k < N; ++k) v[k] *= scale;
  store(dx + at[1], v);
}

void forward(const ReduceProblem& p, const Tensor& x, const Tensor& y) {
  const std::int64_t results = y.numel(), count = p.count();
  if (results == 0) return;
  if (count == 0) return y.fill(0);
  const ReduceAxes axes(p, x);
  const bool rows = axes.rows();
  const std::int64_t blocks = blocks_for(results, rows ? kWarps : 32);
  // Long sums are cut so that a few thousand blocks share them; by the sizes alone.
  const std::int64_t parts = std::clamp<std::int64_t>(2048 / blocks, 1, (count + 1023) / 1024);
  const std::int64_t length = (count + parts - 1) / parts;
  const Tensor partial = Tensor::empty({parts, results}, DType::f64, x.device());
  const DeviceWalk<1> kept(axes.kept, 1), summed(axes.summed, 1);
  dispatch_activation(p.dtype, [&](auto tag) {
    using T = decltype(tag);
    const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(parts));
    if (rows) {
      const auto warps = static_cast<unsigned>(std::min<std::int64_t>(kWarps, results));
      launch(THORAX_KERNEL(reduce_rows<T>), x.device(), {grid, dim3(32, warps)}, kept, summed,
             length, x.device_data<T>(), partial.device_data<double>());
    } else {
      launch(THORAX_KERNEL(reduce_columns<T>), x.device(), {grid, dim3(32, kWarps)}, kept, summed,
             length, x.device_data<T>(), partial.device_data<double>());
    }
    launch(THORAX_KERNEL(reduce_parts<T>), x.device(), one_thread_each(results),
           partial.device_data<double>(), results, parts, p.scale, y.device_data<T>());
  });
}

void backward(const ReduceProblem& p, const Tensor& dy, const Tensor& dx) {
  if (dx.numel() == 0) return;
  const std::array<const Tensor*, 2> tensors{&dy, &dx};
  const auto walk = broadcast_walk<2>(p.shape, tensors);
  dispatch_activation(p.dtype, [&](auto tag) {
    using T = decltype(tag);
    with_walk_width<T>(walk, tensors, [&](auto width) {
      constexpr int N = decltype(width)::value;
      const DeviceWalk<2> places(walk, N);
      launch(THORAX_KERNEL(reduce_repeat<T, N>), dx.device(), one_thread_each(places.count), places,
             walk.steps(walk.rank() - 1)[0] == 0, static_cast<float>(p.scale), dy.device_data<T>(),
             dx.device_data<T>());
    });
  });
}

}  // namespace

THORAX_PROVIDER(reduce_cuda, reduce_providers(),
                {.name = "cuda",
                 .device = THORAX_GPU_KIND,
                 .priority =
                     [](const ReduceProblem& p) { return is_activation_type(p.dtype) ? 10 : -1; },
                 .forward = forward,
                 .backward = backward});

}  // namespace THORAX_GPU
}  // namespace thorax
