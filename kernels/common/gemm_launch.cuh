// Host side of gemm_tile.cuh: which tile, how many parts, the ordered sum of the parts, and sums of
// columns (gradients of a bias).
#pragma once

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "engine/tensor/tensor.h"
#include "kernels/common/channel_parts.h"
#include "kernels/common/gemm_tile.cuh"

namespace thorax {
namespace THORAX_GPU {
namespace {

// result[pixel, n] = act(parts[0] + parts[1] + ... + bias + residual), in this order. One thread
// per element; `elements` of each part.
__global__ void sum_parts_kernel(const float* parts, int count, std::int64_t elements, int columns,
                                 Epilogue result) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= elements) return;
  float sum = 0;
  for (int part = 0; part < count; ++part) sum += parts[part * elements + i];
  const int pixel = static_cast<int>(i / columns), n = static_cast<int>(i % columns);
  result.store_one(pixel, n, sum);
}

inline void sum_parts(Device device, const Tensor& parts, int count, std::int64_t elements,
                      int columns, const Epilogue& result) {
  launch(THORAX_KERNEL(sum_parts_kernel), device, {dim3(blocks_for(elements, 256)), dim3(256)},
         parts.device_data<float>(), count, elements, columns, result);
}

// sums[part, c] = sum over the part's pixels of matrix[pixel, c]. A block makes 32 columns of one
// part: thread (x, y) adds pixels y, y + 8, ... of column x, so that a warp reads along memory.
struct ColumnSums {
  float values[8][32];
};
__global__ void column_sums_kernel(Pixels matrix, int pixels, int columns, int part, float* sums) {
  THORAX_SHARED(ColumnSums, shared);
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const int column = static_cast<int>(blockIdx.x) * 32 + x;
  const int begin = static_cast<int>(blockIdx.y) * part, end = min(begin + part, pixels);
  float sum = 0;
  if (column < columns) {
    for (int pixel = begin + y; pixel < end; pixel += 8) {
      float value[1];
      matrix.load<1>(pixel, column, value);
      sum += value[0];
    }
  }
  shared.values[y][x] = sum;
  __syncthreads();
  if (y != 0 || column >= columns) return;
  for (int other = 1; other < 8; ++other) sum += shared.values[other][x];
  sums[static_cast<std::int64_t>(blockIdx.y) * columns + column] = sum;
}

// result[c] = sum over pixels of matrix[pixel, c]; the partition depends on the size alone.
inline void column_sums(Device device, const Pixels& matrix, int pixels, int columns,
                        float* result) {
  const int part = std::max(256, (pixels + 255) / 256);
  const int parts = std::max(1, (pixels + part - 1) / part);
  const Tensor sums = Tensor::empty({parts, columns}, DType::f32, device);
  launch(THORAX_KERNEL(column_sums_kernel), device,
         {dim3(blocks_for(columns, 32), static_cast<unsigned>(parts)), dim3(32, 8)}, matrix, pixels,
         columns, part, sums.device_data<float>());
  sum_parts(device, sums, parts, columns, columns, {.data = result, .stride = columns});
}

inline bool aligned(const void* pointer, std::int64_t stride, int vector) {
  return reinterpret_cast<std::uintptr_t>(pointer) % (4 * static_cast<unsigned>(vector)) == 0 &&
         stride % vector == 0;
}
inline bool aligned(const Pixels& p, int vector) {
  return aligned(p.data, p.stride, vector) &&
         (p.gate == nullptr || aligned(p.gate, p.gate_stride, vector));
}
inline bool aligned(const Epilogue& e, int vector) {
  return aligned(e.data, e.stride, vector) && (e.bias == nullptr || aligned(e.bias, 0, vector)) &&
         (e.residual == nullptr || aligned(e.residual, e.residual_stride, vector));
}

// A tensor as a matrix of pixels, with or without a gate.
inline Pixels pixels_of(const Tensor& t, const Tensor& gate = {}) {
  const bool gated = gate.defined();
  return {t.device_data<float>(), static_cast<int>(t.pixel_stride()),
          gated ? gate.device_data<float>() : nullptr,
          gated ? static_cast<int>(gate.pixel_stride()) : 0};
}
inline Epilogue epilogue_of(const Tensor& out, const Tensor& bias = {}, const Tensor& residual = {},
                            bool relu = false) {
  Epilogue e{.data = out.device_data<float>(), .stride = static_cast<int>(out.pixel_stride())};
  if (bias.defined()) e.bias = bias.device_data<float>();
  if (residual.defined()) {
    e.residual = residual.device_data<float>();
    e.residual_stride = static_cast<int>(residual.pixel_stride());
  }
  e.relu = relu;
  e.vectors = aligned(e, 4);
  return e;
}

// Relative time of a product with tiles of T, without a measurement: padded multiply-adds, times
// what a tile's shape costs beside them (shared memory and index arithmetic per multiply-add fall
// with the thread's part TM x TN), times the share of the GPU that stays idle.
template <class T>
double tile_cost(double rows, double columns, double depth, int products, int multiprocessors) {
  const double tiles = std::ceil(rows / T::kRows) * std::ceil(columns / T::kColumns) * products;
  const double parts = std::max(1.0, std::floor(depth / (4 * T::kDepth)));
  const double overhead = 1 + 0.5 / T::kThreadRows + 0.5 / T::kThreadColumns;
  return tiles * T::kRows * T::kColumns * overhead *
         std::max(1.0, multiprocessors / (tiles * parts));
}

// Launches `problem` (a Product or several, `products` of at most `rows` rows) with tiles of T,
// whose sums go to `result`, a matrix of `pixels` pixels. A product too small to fill the GPU twice
// is cut along its depth. `statistics`, when not null, is filled by a product that is not cut.
template <class T, class Problem>
void launch_tiles(Device device, Problem problem, const char* name, int rows, int products,
                  std::int64_t pixels, ChannelParts* statistics) {
  const std::int64_t tiles =
      std::int64_t{blocks_for(rows, T::kRows)} * blocks_for(problem.columns, T::kColumns);
  if (tiles == 0 || products == 0) return;
  const int wanted = 2 * device_info(device).multiprocessors;
  const std::int64_t slabs = (problem.depth + T::kDepth - 1) / T::kDepth;
  // At least 4 slabs a part, at most 64 MB of partial sums.
  const std::int64_t elements = pixels * problem.columns;
  const std::int64_t parts_wanted =
      std::min({wanted / (tiles * products), slabs / 4, (std::int64_t{16} << 20) / elements});
  const std::int64_t part_slabs =
      std::max<std::int64_t>(1, (slabs + std::max<std::int64_t>(1, parts_wanted) - 1) /
                                    std::max<std::int64_t>(1, parts_wanted));
  const int parts =
      static_cast<int>(std::max<std::int64_t>(1, (slabs + part_slabs - 1) / part_slabs));
  problem.part = static_cast<int>(part_slabs) * T::kDepth;
  const Epilogue result = problem.result;
  Tensor sums;
  if (parts > 1) {
    sums = Tensor::empty({parts, elements}, DType::f32, device);
    Epilogue partial;
    partial.data = sums.device_data<float>();
    partial.stride = problem.columns;
    partial.vectors = problem.columns % 4 == 0;
    problem.result = partial;
    problem.part_elements = elements;
  } else if (statistics != nullptr) {
    statistics->values =
        Tensor::empty({blocks_for(rows, T::kRows), 3, problem.columns}, DType::f32, device);
    statistics->chunk_pixels = T::kRows;
    problem.result.statistics = statistics->values.template device_data<float>();
  }
  launch(THORAX_NAMED_KERNEL(name, gemm_kernel<T, Problem>), device,
         {dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(parts),
               static_cast<unsigned>(products)),
          dim3(T::kThreads)},
         problem);
  if (parts > 1) sum_parts(device, sums, parts, elements, problem.columns, result);
}

// The tile of least cost among T.
template <class... T, class Problem>
void launch_best(Device device, const Problem& problem, const char* name, int rows, int products,
                 std::int64_t pixels, ChannelParts* statistics = nullptr) {
  const int sms = device_info(device).multiprocessors;
  const double least =
      std::min({tile_cost<T>(rows, problem.columns, problem.depth, products, sms)...});
  bool done = false;
  const auto attempt = [&](auto tag) {
    using Chosen = typename decltype(tag)::type;
    if (done || tile_cost<Chosen>(rows, problem.columns, problem.depth, products, sms) > least)
      return;
    done = true;
    launch_tiles<Chosen>(device, problem, name, rows, products, pixels, statistics);
  };
  (attempt(std::type_identity<T>{}), ...);
}

// Calls fn with the widest vector, 4, 2 or 1 floats, that `fits` allows, as a constant.
template <class Fits, class Fn>
void with_vector(const Fits& fits, const Fn& fn) {
  if (fits(4)) return fn(std::integral_constant<int, 4>{});
  if (fits(2)) return fn(std::integral_constant<int, 2>{});
  fn(std::integral_constant<int, 1>{});
}

}  // namespace
}  // namespace THORAX_GPU
}  // namespace thorax
