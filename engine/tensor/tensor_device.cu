// Tensor basics on a GPU: fill, copy with conversion, add, scale, permute, reductions.
#include "engine/runtime/launch.cuh"
#include "engine/tensor/half.h"
#include "engine/tensor/tensor_kernels.h"
#include "engine/tensor/tensor_list.cuh"

namespace thorax {
namespace THORAX_GPU {
namespace {

constexpr int kThreads = 256;

// Element i of a tensor that may be a channel slice.
template <class T>
struct Elements {
  T* data;
  std::int64_t channels, stride;
  explicit Elements(const Tensor& t)
      : data(t.device_data<std::remove_const_t<T>>()),
        channels(t.contiguous() ? 1 : t.channels()),
        stride(t.contiguous() ? 1 : t.pixel_stride()) {}
  __device__ T& operator[](std::int64_t i) const {
    return channels == 1 ? data[i * stride] : data[i / channels * stride + i % channels];
  }
};

__device__ std::int64_t thread_index() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

template <class T>
__global__ void fill_kernel(Elements<T> to, std::int64_t count, T value) {
  const std::int64_t i = thread_index();
  if (i < count) to[i] = value;
}

template <class To, class From>
__global__ void copy_kernel(Elements<To> to, Elements<const From> from, std::int64_t count) {
  const std::int64_t i = thread_index();
  if (i < count) to[i] = convert<To>(from[i]);
}

// Sums of 16-bit floats are made in float.
template <class T>
__device__ T sum_of(T a, T b) {
  if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>) {
    return from_float<T>(to_float(a) + to_float(b));
  } else {
    return static_cast<T>(a + b);
  }
}

template <class T>
__global__ void add_kernel(Elements<T> to, Elements<const T> from, std::int64_t count) {
  const std::int64_t i = thread_index();
  if (i < count) to[i] = sum_of(to[i], from[i]);
}

template <class T>
__global__ void scale_kernel(Elements<T> to, std::int64_t count, double factor) {
  const std::int64_t i = thread_index();
  if (i >= count) return;
  if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>) {
    to[i] = from_float<T>(to_float(to[i]) * static_cast<float>(factor));
  } else {
    to[i] = static_cast<T>(to[i] * static_cast<T>(factor));
  }
}

// One 32 x 32 tile through shared memory, so that both sides are read and written along rows.
struct PermuteTile {
  double values[32][33];  // 33: columns fall into different banks
};
template <class T>
__global__ void permute_kernel(const T* from, T* to, std::int64_t rows, std::int64_t columns,
                               std::int64_t column_tiles) {
  THORAX_SHARED(PermuteTile, tile);
  T(*values)[33] = reinterpret_cast<T(*)[33]>(&tile.values[0][0]);
  const std::int64_t base = static_cast<std::int64_t>(blockIdx.y) * rows * columns;
  const std::int64_t row0 = blockIdx.x / column_tiles * 32,
                     column0 = blockIdx.x % column_tiles * 32;
  for (std::int64_t r = threadIdx.y; r < 32; r += blockDim.y)
    if (row0 + r < rows && column0 + threadIdx.x < columns)
      values[r][threadIdx.x] = from[base + (row0 + r) * columns + column0 + threadIdx.x];
  __syncthreads();
  for (std::int64_t c = threadIdx.y; c < 32; c += blockDim.y)
    if (column0 + c < columns && row0 + threadIdx.x < rows)
      to[base + (column0 + c) * rows + row0 + threadIdx.x] = values[threadIdx.x][c];
}

template <class T>
__global__ void finite_kernel(const T* values, std::int64_t count, int* bad) {
  const std::int64_t i = thread_index();
  if (i < count) {
    const double v = convert<double>(values[i]);
    if (!(v - v == 0)) atomicOr(bad, 1);
  }
}

// Sums of squares of many tensors, a partial sum per block. Their partition depends on nothing but
// the sizes, and every order is fixed.
struct NoConstants {};
template <class T>
using SquareList = TensorList<const T, 1, NoConstants>;
struct SquareSums {
  double values[kListThreads];
};
// The block's sum in values[0], for thread 0.
__device__ void add_up(SquareSums& shared, double own) {
  shared.values[threadIdx.x] = own;
  for (unsigned width = kListThreads / 2; width > 0; width /= 2) {
    __syncthreads();
    if (threadIdx.x < width) shared.values[threadIdx.x] += shared.values[threadIdx.x + width];
  }
}
template <class T>
__global__ void squares_kernel(SquareList<T> list, double* sums) {
  THORAX_SHARED(SquareSums, shared);
  const auto& entry = list.entries[list.entry_of_block()];
  double sum = 0;
  for_quads(entry, [&](std::int64_t i, int count) {
    const auto quad = load_quad(entry.arrays[0], i, count, entry.vectors);
    for (int k = 0; k < 4; ++k) {
      const double v = convert<double>(quad.v[k]);
      sum += v * v;
    }
  });
  add_up(shared, sum);
  if (threadIdx.x == 0) sums[blockIdx.x] = shared.values[0];
}
// One block: the sum of all partial sums.
template <int kThreads>
__global__ void combine_kernel(const double* sums, std::int64_t count, double* total,
                               std::int32_t* non_finite) {
  THORAX_SHARED(SquareSums, shared);
  double sum = 0;
  for (std::int64_t i = threadIdx.x; i < count; i += kThreads) sum += sums[i];
  add_up(shared, sum);
  if (threadIdx.x != 0) return;
  *total = shared.values[0];
  *non_finite = shared.values[0] - shared.values[0] == 0 ? 0 : 1;
}

template <class Fn>
void dispatch(DType dtype, const Fn& fn) {
  switch (dtype) {
    case DType::f32:
      return fn(float{});
    case DType::f64:
      return fn(double{});
    case DType::f16:
      return fn(Half{});
    case DType::bf16:
      return fn(BFloat16{});
    case DType::i32:
      return fn(std::int32_t{});
    case DType::i64:
      return fn(std::int64_t{});
    case DType::u8:
      return fn(std::uint8_t{});
  }
}

LaunchConfig elementwise(const Tensor& t) {
  return {dim3(blocks_for(t.numel(), kThreads)), dim3(kThreads)};
}

void fill(const Tensor& t, double value) {
  dispatch(t.dtype(), [&](auto tag) {
    using T = decltype(tag);
    launch(THORAX_KERNEL(fill_kernel<T>), t.device(), elementwise(t), Elements<T>(t), t.numel(),
           convert<T>(value));
  });
}

void copy(const Tensor& to, const Tensor& from) {
  dispatch(to.dtype(), [&](auto to_tag) {
    dispatch(from.dtype(), [&](auto from_tag) {
      using To = decltype(to_tag);
      using From = decltype(from_tag);
      launch(THORAX_KERNEL(copy_kernel<To, From>), to.device(), elementwise(to), Elements<To>(to),
             Elements<const From>(from), to.numel());
    });
  });
}

void add(const Tensor& a, const Tensor& b) {
  dispatch(a.dtype(), [&](auto tag) {
    using T = decltype(tag);
    launch(THORAX_KERNEL(add_kernel<T>), a.device(), elementwise(a), Elements<T>(a),
           Elements<const T>(b), a.numel());
  });
}

void scale(const Tensor& a, double factor) {
  dispatch(a.dtype(), [&](auto tag) {
    using T = decltype(tag);
    launch(THORAX_KERNEL(scale_kernel<T>), a.device(), elementwise(a), Elements<T>(a), a.numel(),
           factor);
  });
}

void permute(const Tensor& from, const Tensor& to, std::int64_t images, std::int64_t rows,
             std::int64_t columns) {
  const std::int64_t column_tiles = (columns + 31) / 32, row_tiles = (rows + 31) / 32;
  dispatch(from.dtype(), [&](auto tag) {
    using T = decltype(tag);
    launch(THORAX_KERNEL(permute_kernel<T>), from.device(),
           {dim3(static_cast<unsigned>(column_tiles * row_tiles), static_cast<unsigned>(images)),
            dim3(32, 8)},
           from.device_data<T>(), to.device_data<T>(), rows, columns, column_tiles);
  });
}

bool all_finite(const Tensor& t) {
  const Tensor bad = Tensor::zeros({1}, DType::i32, t.device());
  dispatch(t.dtype(), [&](auto tag) {
    using T = decltype(tag);
    launch(THORAX_KERNEL(finite_kernel<T>), t.device(), elementwise(t), t.device_data<T>(),
           t.numel(), bad.device_data<std::int32_t>());
  });
  return bad.item() == 0;
}

void sum_of_squares(std::span<const Tensor> tensors, const Tensor& sum, const Tensor& non_finite) {
  const Device device = sum.device();
  std::int64_t count = 0;
  for (const Tensor& t : tensors) count += list_blocks(t.numel());
  const Tensor sums = Tensor::empty({count}, DType::f64, device);
  double* next = sums.device_data<double>();
  for (const DType dtype : {DType::f32, DType::f64, DType::f16, DType::bf16}) {
    dispatch(dtype, [&](auto tag) {
      using T = decltype(tag);
      in_lists<SquareList<T>>(
          tensors.size(),
          [&](std::size_t i, auto& entry) {
            const bool mine = tensors[i].dtype() == dtype;
            entry.count = mine ? tensors[i].numel() : 0;
            entry.arrays[0] = mine ? tensors[i].template device_data<T>() : nullptr;
          },
          [&](const SquareList<T>& list, unsigned blocks) {
            launch(THORAX_KERNEL(squares_kernel<T>), device, {dim3(blocks), dim3(kListThreads)},
                   list, next);
            next += blocks;
          });
    });
  }
  launch(THORAX_KERNEL(combine_kernel<kListThreads>), device, {dim3(1), dim3(kListThreads)},
         sums.device_data<double>(), count, sum.device_data<double>(),
         non_finite.device_data<std::int32_t>());
}

[[maybe_unused]] const bool registered = [] {
  register_tensor_kernels(THORAX_GPU_KIND, {.fill = fill,
                                            .copy = copy,
                                            .add = add,
                                            .scale = scale,
                                            .permute = permute,
                                            .sum_of_squares = sum_of_squares,
                                            .all_finite = all_finite});
  return true;
}();

}  // namespace
}  // namespace THORAX_GPU
}  // namespace thorax
