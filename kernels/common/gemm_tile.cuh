// The matrix product of one block of threads, shared by everything that is a product in disguise:
// convolution, its gradients, transposed convolution, the fully connected layer.
//
//     result[m, n] = act( sum_l left[m, l] * right[l, n] + bias[n] + residual[m, n] )
//
//                     columns n                  a block makes one tile of the result; it walks
//                   +----+----+----+             along l in slabs of `kDepth`:
//          right    |    |slab|    |               1. every thread reads its share of both slabs
//                   +----+----+----+                  from memory into registers,
//     rows m   l ->   +----+                       2. multiplies the slab before from shared
//     memory,
//     +--------+    | |tile| |                     3. and stores what it read into the other half
//     of |  slab  | x  | |    | |                        shared memory; one barrier a slab.
//     +--------+    | +----+ |
//       left
//
// A thread owns a TM x TN part of the tile in registers: per step of l it reads TM + TN numbers
// from shared memory for TM * TN multiply-adds. A warp's 4 x 8 threads read 4 and 8 different
// vectors of 4, each at most one pass over the banks.
//
// Where the matrices come from is a template parameter, a *source*: an object with the numbers that
// describe the matrix, and a Cursor, the share of one thread. A source is contiguous either along l
// (DepthPanel) or along its rows or columns (ExtentPanel). Here are dense ones; those of a
// convolution are in implicit_gemm.cuh.
#pragma once

#include "engine/runtime/launch.cuh"

namespace thorax {
namespace THORAX_GPU {
namespace {

// A tile of WarpsM * 4 * TM rows and WarpsN * 8 * TN columns, made by WarpsM * WarpsN warps.
template <int TM, int TN, int WarpsM, int WarpsN, int Depth, int Resident>
struct Tile {
  static constexpr int kThreadRows = TM, kThreadColumns = TN;
  static constexpr int kWarpsM = WarpsM, kWarpsN = WarpsN;
  static constexpr int kThreads = 32 * WarpsM * WarpsN;
  static constexpr int kRows = WarpsM * 4 * TM, kColumns = WarpsN * 8 * TN, kDepth = Depth;
  static constexpr int kResident = Resident;  // blocks that an SM's registers should hold
  // Steps of l unrolled. All of them would hide more latency than 64 sums leave registers for.
  static constexpr int kUnroll = TM * TN >= 64 ? 2 : Depth;
};
using LargeTile = Tile<8, 8, 4, 2, 8, 2>;    // 128 x 128
using MediumTile = Tile<8, 4, 4, 2, 16, 2>;  // 128 x 64
using SmallTile = Tile<4, 4, 4, 2, 16, 2>;   // 64 x 64
using TallTile = Tile<8, 4, 8, 1, 16, 2>;    // 256 x 32
using FlatTile = Tile<8, 4, 1, 8, 16, 2>;    // 32 x 256

// From global memory, through the read-only cache: never from shared memory, whose address the
// instruction would take for one of global memory.
template <int V>
__device__ void load_global(const float* from, float* to) {
  if constexpr (V == 4) {
    const float4 v = __ldg(reinterpret_cast<const float4*>(from));
    to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
  } else if constexpr (V == 2) {
    const float2 v = __ldg(reinterpret_cast<const float2*>(from));
    to[0] = v.x, to[1] = v.y;
  } else {
    to[0] = __ldg(from);
  }
}

// A matrix of pixels in memory. `gate`, when not null, is a matrix of the same shape: elements
// where it is not positive count as zero (the gradient of a ReLU; a NaN lets pass).
struct Pixels {
  const float* data;
  int stride;
  const float* gate;
  int gate_stride;

  // Channels [c, c + V) of a pixel.
  template <int V>
  __device__ void load(int pixel, int c, float* to) const {
    load_global<V>(data + static_cast<std::int64_t>(pixel) * stride + c, to);
    if (gate == nullptr) return;
    float open[V];
    load_global<V>(gate + static_cast<std::int64_t>(pixel) * gate_stride + c, open);
#pragma unroll
    for (int i = 0; i < V; ++i)
      if (open[i] <= 0) to[i] = 0;
  }
};

// The share of one thread in a slab of Extent x Depth that is contiguous along the depth: vectors
// of 4 of kPasses rows. In shared memory the slab lies as [depth][extent], so that the product
// reads vectors of the extent; stores of the 4 numbers go to rows `Extent` apart. Position x of
// depth l is at x ^ twist(l): without it, the threads of a warp that have the same row would meet
// in one bank.
template <int Extent, int Depth, int Threads>
struct DepthPanel {
  static constexpr int kVectors = Depth / 4;
  static constexpr int kStep = Threads / kVectors;
  static constexpr int kPasses = (Extent + kStep - 1) / kStep;
  float values[kPasses][4];

  __device__ static constexpr int twist(int l) { return (l / 4 % kVectors) * (32 / kVectors); }
  __device__ static int depth_of(int thread) { return thread % kVectors * 4; }
  __device__ static int row_of(int thread, int pass) { return thread / kVectors + pass * kStep; }
  __device__ void store(int thread, float* shared) const {
    const int l = depth_of(thread);
#pragma unroll
    for (int i = 0; i < kPasses; ++i) {
      const int row = row_of(thread, i);
      if (Extent % kStep != 0 && row >= Extent) continue;
#pragma unroll
      for (int j = 0; j < 4; ++j) shared[(l + j) * Extent + (row ^ twist(l))] = values[i][j];
    }
  }
};

// The same for a matrix that is contiguous along the extent: vectors go to shared memory as they
// are.
template <int Extent, int Depth, int Threads>
struct ExtentPanel {
  static constexpr int kVectors = Extent / 4;
  static constexpr int kStep = Threads / kVectors;
  static constexpr int kPasses = (Depth + kStep - 1) / kStep;
  float values[kPasses][4];

  __device__ static constexpr int twist(int) { return 0; }
  __device__ static int column_of(int thread) { return thread % kVectors * 4; }
  __device__ static int depth_of(int thread, int pass) { return thread / kVectors + pass * kStep; }
  __device__ void store(int thread, float* shared) const {
#pragma unroll
    for (int i = 0; i < kPasses; ++i) {
      const int l = depth_of(thread, i);
      if (Depth % kStep != 0 && l >= Depth) continue;
      *reinterpret_cast<float4*>(shared + l * Extent + column_of(thread)) =
          make_float4(values[i][0], values[i][1], values[i][2], values[i][3]);
    }
  }
};

// Matrix [extent][depth], contiguous along the depth. Elements come in vectors of V, which divides
// the depth and the stride.
template <int V>
struct DenseRows {
  static constexpr int kVector = V;
  Pixels matrix;
  int extent, depth;

  template <int Extent, int Depth, int Threads>
  struct Cursor : DepthPanel<Extent, Depth, Threads> {
    using Panel = DepthPanel<Extent, Depth, Threads>;
    int first, l;
    __device__ Cursor(const DenseRows&, int thread, int first_row, int begin)
        : first(first_row + Panel::row_of(thread, 0)), l(begin + Panel::depth_of(thread)) {}
    __device__ void fetch(const DenseRows& source) {
#pragma unroll
      for (int i = 0; i < Panel::kPasses; ++i) {
        const int row = first + i * Panel::kStep;
#pragma unroll
        for (int j = 0; j < 4; j += V) {
          float* to = &this->values[i][j];
          if (row < source.extent && l + j < source.depth) {
            source.matrix.template load<V>(row, l + j, to);
          } else {
#pragma unroll
            for (int v = 0; v < V; ++v) to[v] = 0;
          }
        }
      }
      l += Depth;
    }
  };
};

// Matrix [depth][extent], contiguous along the extent; V divides the extent and the stride.
template <int V>
struct DenseColumns {
  static constexpr int kVector = V;
  Pixels matrix;
  int extent, depth;

  template <int Extent, int Depth, int Threads>
  struct Cursor : ExtentPanel<Extent, Depth, Threads> {
    using Panel = ExtentPanel<Extent, Depth, Threads>;
    int column, l;
    __device__ Cursor(const DenseColumns&, int thread, int first_column, int begin)
        : column(first_column + Panel::column_of(thread)), l(begin + Panel::depth_of(thread, 0)) {}
    __device__ void fetch(const DenseColumns& source) {
#pragma unroll
      for (int i = 0; i < Panel::kPasses; ++i) {
        const int row = l + i * Panel::kStep;
#pragma unroll
        for (int j = 0; j < 4; j += V) {
          float* to = &this->values[i][j];
          if (row < source.depth && column + j < source.extent) {
            source.matrix.template load<V>(row, column + j, to);
          } else {
#pragma unroll
            for (int v = 0; v < V; ++v) to[v] = 0;
          }
        }
      }
      l += Depth;
    }
  };
};

// Where rows of the result lie: row m is the m-th pixel, or, when `rows_w` is set, pixel
// (n, i * step_h + start_h, j * step_w + start_w) of maps height x width, with m = (n, i, j).
struct RowMap {
  int rows_h = 0, rows_w = 0, step_h = 1, step_w = 1, start_h = 0, start_w = 0, height = 0,
      width = 0;
  __device__ int pixel(int m) const {
    if (rows_w == 0) return m;
    const int j = m % rows_w, rest = m / rows_w, i = rest % rows_h, n = rest / rows_h;
    return (n * height + i * step_h + start_h) * width + j * step_w + start_w;
  }
};

// Rows that are not pixels but patches: row m is patch m of a grid of `grid_w` patches a line, each
// of taps_h x taps_w pixels that lie side by side, and column n is (tap, channel). taps_w 0: no
// patches.
struct Patches {
  int grid_w = 0, taps_h = 0, taps_w = 0, channels = 0;
  __device__ void place(int* pixel, int* n) const {
    if (taps_w == 0) return;
    const int tap = *n / channels, j = *pixel % grid_w, line = *pixel / grid_w;
    *n %= channels;
    *pixel = (line * taps_h + tap / taps_w) * (grid_w * taps_w) + j * taps_w + tap % taps_w;
  }
};

// What happens to finished sums. Null pointers are absent.
struct Epilogue {
  float* data = nullptr;
  int stride = 0;
  const float* bias = nullptr;
  const float* residual = nullptr;
  int residual_stride = 0;
  bool relu = false;
  bool vectors = false;  // every pointer, stride and channel count allows vectors of 4
  Patches patches = {};
  // Statistics of the result's columns over the rows of each row of tiles (kernels/common/
  // channel_parts.h), or null. Only of plain sums: no bias, residual, ReLU, patches or parts.
  float* statistics = nullptr;

  __device__ void store_one(int pixel, int n, float sum) const {
    patches.place(&pixel, &n);
    if (bias != nullptr) sum += bias[n];
    if (residual != nullptr)
      sum += residual[static_cast<std::int64_t>(pixel) * residual_stride + n];
    data[static_cast<std::int64_t>(pixel) * stride + n] = relu && sum <= 0 ? 0.0f : sum;
  }
  // Columns n .. n + 3 of a row, as far as there are any.
  __device__ void store(int pixel, int n, int columns, const float* sums) const {
    if (vectors && n + 4 <= columns) {
      patches.place(&pixel, &n);
      float v[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) v[j] = sums[j];
      if (bias != nullptr) {
        float b[4];
        load_global<4>(bias + n, b);
#pragma unroll
        for (int j = 0; j < 4; ++j) v[j] += b[j];
      }
      if (residual != nullptr) {
        float r[4];
        load_global<4>(residual + static_cast<std::int64_t>(pixel) * residual_stride + n, r);
#pragma unroll
        for (int j = 0; j < 4; ++j) v[j] += r[j];
      }
#pragma unroll
      for (int j = 0; j < 4; ++j)
        if (relu && v[j] <= 0) v[j] = 0;
      *reinterpret_cast<float4*>(data + static_cast<std::int64_t>(pixel) * stride + n) =
          make_float4(v[0], v[1], v[2], v[3]);
      return;
    }
#pragma unroll
    for (int j = 0; j < 4; ++j)
      if (n + j < columns) store_one(pixel, n + j, sums[j]);
  }
};

// A product, of which one launch makes parts: the depth is cut into parts of `part` (a multiple of
// the tile's depth), each with sums of its own `part_elements` after those of the part before, for
// sum_parts (gemm_launch.cuh) to add. One part is the product itself.
template <class Left, class Right>
struct Product {
  Left left;
  Right right;
  Epilogue result;
  RowMap rows_at;
  int rows, columns, depth;
  int part;
  std::int64_t part_elements;

  __device__ void select_part(int index, int* begin, int* end) {
    *begin = index * part;
    *end = min(*begin + part, depth);
    result.data += index * part_elements;
  }
  // What blocks (x, index, z) make; a launch of several products (implicit_gemm.cuh) has its own.
  __device__ Product select(int, int index, int* begin, int* end) const {
    Product p = *this;
    p.select_part(index, begin, end);
    return p;
  }
};

// Forward products, whose right matrix is a filter with one row per output channel. The others
// would pay for the code with registers.
template <class Right>
constexpr bool kMakesStatistics = false;
template <int V>
constexpr bool kMakesStatistics<DenseRows<V>> = true;

// Mean and sum of squared distances of a tile's columns, from the sums in registers: distances from
// the tile's first row, so that a mean far from zero costs no digits, added over a thread's rows,
// then over the 4 threads of a warp that share columns, then over warps, always in this order.
// `scratch` is shared memory that the product is done with.
template <class T>
__device__ void tile_statistics(float* statistics, int rows, int columns, int row0, int column0,
                                const float (&sums)[T::kThreadRows][T::kThreadColumns],
                                float* scratch) {
  constexpr int TM = T::kThreadRows, TN = T::kThreadColumns;
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % 32, warp = thread / 32, warp_row = warp / T::kWarpsN;
  const int my_row = warp_row * 4 * TM + lane / 8 * 4;
  const int my_column = warp % T::kWarpsN * 8 * TN + lane % 8 * 4;
  float* const first = scratch;              // of each column
  float* const added = first + T::kColumns;  // [warp row][sum, squares][column]
  __syncthreads();
  if (my_row == 0) {
#pragma unroll
    for (int j = 0; j < TN; ++j) first[my_column + j / 4 * 32 + j % 4] = sums[0][j];
  }
  __syncthreads();
#pragma unroll
  for (int j = 0; j < TN; ++j) {
    const int column = my_column + j / 4 * 32 + j % 4;
    const float shift = first[column];
    float sum = 0, squares = 0;
#pragma unroll
    for (int i = 0; i < TM; ++i) {
      if (row0 + my_row + i / 4 * 16 + i % 4 >= rows) continue;
      const float d = sums[i][j] - shift;
      sum += d;
      squares = fmaf(d, d, squares);
    }
#pragma unroll
    for (int lanes = 8; lanes < 32; lanes *= 2) {
      sum += __shfl_xor_sync(0xffffffffu, sum, lanes);
      squares += __shfl_xor_sync(0xffffffffu, squares, lanes);
    }
    if (lane < 8) {
      added[warp_row * 2 * T::kColumns + column] = sum;
      added[(warp_row * 2 + 1) * T::kColumns + column] = squares;
    }
  }
  __syncthreads();
  const float count = static_cast<float>(min(T::kRows, rows - row0));
  for (int x = thread; x < T::kColumns && column0 + x < columns; x += T::kThreads) {
    float sum = 0, squares = 0;
    for (int w = 0; w < T::kWarpsM; ++w) {
      sum += added[w * 2 * T::kColumns + x];
      squares += added[(w * 2 + 1) * T::kColumns + x];
    }
    const float offset = sum / count, m2 = fmaf(-sum, offset, squares);
    float* const to =
        statistics + static_cast<std::int64_t>(row0 / T::kRows) * 3 * columns + column0 + x;
    to[0] = first[x];
    to[columns] = offset;
    to[2 * columns] = m2 < 0 ? 0.0f : m2;  // a NaN stays one
  }
}

// The tile whose first element is (row0, column0), summed over depths [begin, end).
template <class T, class Left, class Right>
__device__ void multiply_tile(const Product<Left, Right>& p, int row0, int column0, int begin,
                              int end) {
  constexpr int TM = T::kThreadRows, TN = T::kThreadColumns;
  using LeftCursor = typename Left::template Cursor<T::kRows, T::kDepth, T::kThreads>;
  using RightCursor = typename Right::template Cursor<T::kColumns, T::kDepth, T::kThreads>;
  struct Slabs {
    alignas(16) float left[2][T::kDepth * T::kRows];
    alignas(16) float right[2][T::kDepth * T::kColumns];
  };
  THORAX_SHARED(Slabs, slabs);
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % 32, warp = thread / 32;
  const int my_row = warp / T::kWarpsN * 4 * TM + lane / 8 * 4;
  const int my_column = warp % T::kWarpsN * 8 * TN + lane % 8 * 4;
  float sums[TM][TN];
#pragma unroll
  for (int i = 0; i < TM; ++i)
#pragma unroll
    for (int j = 0; j < TN; ++j) sums[i][j] = 0;

  if (begin < end) {
    LeftCursor left(p.left, thread, row0, begin);
    RightCursor right(p.right, thread, column0, begin);
    left.fetch(p.left);
    right.fetch(p.right);
    left.store(thread, slabs.left[0]);
    right.store(thread, slabs.right[0]);
    __syncthreads();
    int half = 0;
    for (int l = begin; l < end; l += T::kDepth) {
      const bool more = l + T::kDepth < end;
      if (more) {
        left.fetch(p.left);
        right.fetch(p.right);
      }
      const float* const a_slab = slabs.left[half];
      const float* const b_slab = slabs.right[half];
#pragma unroll T::kUnroll
      for (int d = 0; d < T::kDepth; ++d) {
        float a[TM], b[TN];
#pragma unroll
        for (int i = 0; i < TM; i += 4) {
          const float4 v = *reinterpret_cast<const float4*>(
              a_slab + d * T::kRows + ((my_row + i * 4) ^ LeftCursor::twist(d)));
          a[i] = v.x, a[i + 1] = v.y, a[i + 2] = v.z, a[i + 3] = v.w;
        }
#pragma unroll
        for (int j = 0; j < TN; j += 4) {
          const float4 v = *reinterpret_cast<const float4*>(
              b_slab + d * T::kColumns + ((my_column + j * 8) ^ RightCursor::twist(d)));
          b[j] = v.x, b[j + 1] = v.y, b[j + 2] = v.z, b[j + 3] = v.w;
        }
#pragma unroll
        for (int i = 0; i < TM; ++i)
#pragma unroll
          for (int j = 0; j < TN; ++j) sums[i][j] += a[i] * b[j];
      }
      if (more) {
        // Nobody reads this half any more: that product ended before the last barrier.
        half ^= 1;
        left.store(thread, slabs.left[half]);
        right.store(thread, slabs.right[half]);
        __syncthreads();
      }
    }
  }
#pragma unroll
  for (int i = 0; i < TM; ++i) {
    const int row = row0 + my_row + i / 4 * 16 + i % 4;
    if (row >= p.rows) continue;
    const int pixel = p.rows_at.pixel(row);
#pragma unroll
    for (int j = 0; j < TN; j += 4) {
      const int column = column0 + my_column + j * 8;
      if (column < p.columns) p.result.store(pixel, column, p.columns, &sums[i][j]);
    }
  }
  if constexpr (kMakesStatistics<Right>) {
    static_assert(sizeof(Slabs) >= sizeof(float) * T::kColumns * (1 + 2 * T::kWarpsM));
    if (p.result.statistics != nullptr)
      tile_statistics<T>(p.result.statistics, p.rows, p.columns, row0, column0, sums,
                         slabs.left[0]);
  }
}

// Block (x, y, z): tile x, row by row, of part y of product z, whatever Problem::select makes of
// it.
template <class T, class Problem>
__global__ void __launch_bounds__(T::kThreads, T::kResident) gemm_kernel(Problem problem) {
  const int column_tiles = (problem.columns + T::kColumns - 1) / T::kColumns;
  const int x = static_cast<int>(blockIdx.x);
  int begin, end;
  const auto product =
      problem.select(static_cast<int>(blockIdx.z), static_cast<int>(blockIdx.y), &begin, &end);
  const int row0 = x / column_tiles * T::kRows;
  if (row0 >= product.rows) return;
  multiply_tile<T>(product, row0, x % column_tiles * T::kColumns, begin, end);
}

}  // namespace
}  // namespace THORAX_GPU
}  // namespace thorax
