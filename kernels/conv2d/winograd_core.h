// Winograd's minimal filtering F(4x4, 3x3): the arithmetic, free of threads, allocation and
// tensors.
//
// A 4x4 tile of outputs of a 3x3 stride-1 convolution takes 36 products instead of 144:
//     Y = A^T [ (G g G^T) .* (B^T d B) ] A          (Lavin and Gray, CVPR 2016, equation 8)
// summed over channels between the brackets, which makes 36 independent matrix products.
// Interpolation points 0, +-5/8, +-3/2 and infinity: their matrices are exact in float32 and their
// rounding error was measured at a third of the usual 0, +-1, +-2 (README.md).
//
// Templates on the vector width: conv2d_winograd_avx2.cpp and conv2d_winograd_avx512.cpp compile
// them.
#pragma once

#include <cstdint>

#include "kernels/common/gemm_core.h"
#include "kernels/common/microkernel.h"
#include "kernels/common/simd.h"
#include "kernels/common/transpose.h"
#include "kernels/conv2d/winograd.h"

namespace thorax::winograd {
inline namespace THORAX_SIMD_TARGET {

using simd::load;
using simd::store;
using simd::Vec;

inline constexpr float kA = 0.625f, kB = 1.5f;
inline constexpr float kA2 = kA * kA, kB2 = kB * kB, kA3 = kA * kA * kA, kB3 = kB * kB * kB;
inline constexpr float kProduct = kA2 * kB2, kSum = kA2 + kB2;
inline constexpr double kNormA = 1.0 / (2.0 * kA2 * (kA2 - kB2));
inline constexpr double kNormB = 1.0 / (2.0 * kB2 * (kB2 - kA2));
inline constexpr int kMaxRun = 8;  // tiles of one tile row transformed together

// One-dimensional transforms; `in` and `out` may not overlap. -------------------------------------

// out = B^T in, 6 -> 6.
template <class V>
THORAX_INLINE void data_transform(const V in[6], V out[6]) {
  out[0] = kProduct * in[0] + (in[4] - kSum * in[2]);
  out[5] = kProduct * in[1] + (in[5] - kSum * in[3]);
  const V even_a = in[4] - kB2 * in[2], odd_a = in[3] - kB2 * in[1];
  const V even_b = in[4] - kA2 * in[2], odd_b = in[3] - kA2 * in[1];
  out[1] = even_a + kA * odd_a;
  out[2] = even_a - kA * odd_a;
  out[3] = even_b + kB * odd_b;
  out[4] = even_b - kB * odd_b;
}

// out = A^T in, 6 -> 4.
template <class V>
THORAX_INLINE void output_transform(const V in[6], V out[4]) {
  const V sum_a = in[1] + in[2], difference_a = in[1] - in[2];
  const V sum_b = in[3] + in[4], difference_b = in[3] - in[4];
  out[0] = in[0] + (sum_a + sum_b);
  out[1] = kA * difference_a + kB * difference_b;
  out[2] = kA2 * sum_a + kB2 * sum_b;
  out[3] = kA3 * difference_a + (kB3 * difference_b + in[5]);
}

// out = A in, 4 -> 6 (the adjoint of the above, for the gradient of the output).
template <class V>
THORAX_INLINE void output_adjoint(const V in[4], V out[6]) {
  const V even_a = in[0] + kA2 * in[2], odd_a = kA * in[1] + kA3 * in[3];
  const V even_b = in[0] + kB2 * in[2], odd_b = kB * in[1] + kB3 * in[3];
  out[0] = in[0];
  out[1] = even_a + odd_a;
  out[2] = even_a - odd_a;
  out[3] = even_b + odd_b;
  out[4] = even_b - odd_b;
  out[5] = in[3];
}

// out = G in, 3 -> 6.
template <class V>
THORAX_INLINE void filter_transform(const V in[3], V out[6]) {
  const V even_a = float(kNormA) * in[0] + float(kNormA * kA2) * in[2];
  const V even_b = float(kNormB) * in[0] + float(kNormB * kB2) * in[2];
  const V odd_a = float(kNormA * kA) * in[1], odd_b = float(kNormB * kB) * in[1];
  out[0] = float(1.0 / kProduct) * in[0];
  out[1] = even_a + odd_a;
  out[2] = even_a - odd_a;
  out[3] = even_b + odd_b;
  out[4] = even_b - odd_b;
  out[5] = in[2];
}

// out = G^T in, 6 -> 3 (for the gradient of the filter).
template <class V>
THORAX_INLINE void filter_adjoint(const V in[6], V out[3]) {
  const V sum_a = in[1] + in[2], sum_b = in[3] + in[4];
  const V difference_a = in[1] - in[2], difference_b = in[3] - in[4];
  out[0] = float(1.0 / kProduct) * in[0] + (float(kNormA) * sum_a + float(kNormB) * sum_b);
  out[1] = float(kNormA * kA) * difference_a + float(kNormB * kB) * difference_b;
  out[2] = in[5] + (float(kNormA * kA2) * sum_a + float(kNormB * kB2) * sum_b);
}

// Tiles
// ---------------------------------------------------------------------------------------------

// Where one run of tiles lies: `rows` image rows from `y`, columns from `x`, either may start
// outside.
struct Run {
  std::int64_t image, y, x, tiles;
};

// Pointers to consecutive image rows; a row outside the image reads one zero pixel again and again.
template <int Rows>
struct RowPointers {
  const float* base[Rows];
  std::int64_t step[Rows];

  THORAX_INLINE RowPointers(const Map& map, const float* data, const Run& run, const float* zeros) {
    for (int r = 0; r < Rows; ++r) {
      const std::int64_t y = run.y + r;
      const bool inside = y >= 0 && y < map.height;
      base[r] = inside ? data + (run.image * map.height + y) * map.width * map.pixel : zeros;
      step[r] = inside ? map.pixel : 0;
    }
  }
  THORAX_INLINE const float* at(int r, std::int64_t x) const { return base[r] + x * step[r]; }
};

// V[i*6+j][tile][c .. c+CV*W) = B^T d B for a run of tiles. `gate`, when not null, is the output of
// the ReLU that d is the gradient of: elements where it is not positive count as zero.
template <int W, int CV, bool Gated>
THORAX_INLINE void transform_data_run(const Map& map, const float* data, const Map& gate_map,
                                      const float* gate, const Run& run, std::int64_t c, float* v,
                                      std::int64_t plane, std::int64_t row, const float* zeros) {
  const RowPointers<6> source(map, data, run, zeros);
  const RowPointers<6> gates(Gated ? gate_map : map, Gated ? gate : data, run, zeros);
  Vec<W> columns[4 * kMaxRun + 2][6][CV];
  const int width = static_cast<int>(4 * run.tiles + 2);
  for (int q = 0; q < width; ++q) {
    const std::int64_t x = run.x + q;
    if (x < 0 || x >= map.width) {
      for (int i = 0; i < 6; ++i)
        for (int u = 0; u < CV; ++u) columns[q][i][u] = Vec<W>{};
      continue;
    }
#pragma GCC unroll 2
    for (int u = 0; u < CV; ++u) {
      Vec<W> d[6], out[6];
#pragma GCC unroll 6
      for (int r = 0; r < 6; ++r) {
        d[r] = load<W>(source.at(r, x) + c + u * W);
        if constexpr (Gated)
          d[r] = simd::relu_gradient<W>(d[r], load<W>(gates.at(r, x) + c + u * W));
      }
      data_transform(d, out);
#pragma GCC unroll 6
      for (int i = 0; i < 6; ++i) columns[q][i][u] = out[i];
    }
  }
  for (int t = 0; t < run.tiles; ++t) {
#pragma GCC unroll 1
    for (int i = 0; i < 6; ++i) {
      float* to = v + i * 6 * plane + t * row + c;
#pragma GCC unroll 2
      for (int u = 0; u < CV; ++u) {
        Vec<W> d[6], out[6];
#pragma GCC unroll 6
        for (int j = 0; j < 6; ++j) d[j] = columns[4 * t + j][i][u];
        data_transform(d, out);
#pragma GCC unroll 6
        for (int j = 0; j < 6; ++j) store<W>(to + j * plane + u * W, out[j]);
      }
    }
  }
}

// M[i*6+j][tile][k .. k+W) = A e A^T for one 4x4 tile e of the output's gradient.
template <int W, bool Gated>
THORAX_INLINE void transform_gradient_tile(const Map& map, const float* data, const Map& gate_map,
                                           const float* gate, const Run& run, std::int64_t k,
                                           float* m, std::int64_t plane, float* sums,
                                           const float* zeros) {
  const RowPointers<4> source(map, data, run, zeros);
  const RowPointers<4> gates(Gated ? gate_map : map, Gated ? gate : data, run, zeros);
  Vec<W> columns[4][6], total = {};
  for (int q = 0; q < 4; ++q) {
    const std::int64_t x = run.x + q;
    Vec<W> e[4];
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) {
      if (x >= map.width) {
        e[r] = Vec<W>{};
        continue;
      }
      e[r] = load<W>(source.at(r, x) + k);
      if constexpr (Gated) e[r] = simd::relu_gradient<W>(e[r], load<W>(gates.at(r, x) + k));
    }
    total += (e[0] + e[1]) + (e[2] + e[3]);
    output_adjoint(e, columns[q]);
  }
  // The last, overlapping vector of channels keeps sums of its own.
  if (sums) {
    float* const to = sums + (k + W - 1) / W * W;
    store<W>(to, load<W>(to) + total);
  }
#pragma GCC unroll 1
  for (int i = 0; i < 6; ++i) {
    Vec<W> e[4], out[6];
#pragma GCC unroll 4
    for (int q = 0; q < 4; ++q) e[q] = columns[q][i];
    output_adjoint(e, out);
#pragma GCC unroll 6
    for (int j = 0; j < 6; ++j) store<W>(m + (i * 6 + j) * plane + k, out[j]);
  }
}

// y = A^T M A for one tile, plus bias, through ReLU, written where the map has pixels.
template <int W, int CV>
THORAX_INLINE void transform_output_tile(const Map& map, float* out, const Run& run, std::int64_t k,
                                         const float* m, std::int64_t plane,
                                         const Epilogue& epilogue) {
  Vec<W> columns[6][4][CV];
#pragma GCC unroll 1
  for (int j = 0; j < 6; ++j) {
#pragma GCC unroll 2
    for (int u = 0; u < CV; ++u) {
      Vec<W> in[6], half[4];
#pragma GCC unroll 6
      for (int i = 0; i < 6; ++i) in[i] = load<W>(m + (i * 6 + j) * plane + k + u * W);
      output_transform(in, half);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) columns[j][i][u] = half[i];
    }
  }
  const int rows = map.height - run.y < 4 ? static_cast<int>(map.height - run.y) : 4;
  const int width = map.width - run.x < 4 ? static_cast<int>(map.width - run.x) : 4;
  Vec<W> shift[CV];
  for (int u = 0; u < CV; ++u)
    shift[u] = epilogue.bias ? load<W>(epilogue.bias + k + u * W) : Vec<W>{};
#pragma GCC unroll 1
  for (int i = 0; i < rows; ++i) {
    Vec<W> y[CV][4];
#pragma GCC unroll 2
    for (int u = 0; u < CV; ++u) {
      Vec<W> in[6];
#pragma GCC unroll 6
      for (int j = 0; j < 6; ++j) in[j] = columns[j][i][u];
      output_transform(in, y[u]);
#pragma GCC unroll 4
      for (int q = 0; q < 4; ++q) y[u][q] += shift[u];
    }
    const std::int64_t pixel = (run.image * map.height + run.y + i) * map.width + run.x;
    if (epilogue.residual) {
      const float* from = epilogue.residual + pixel * epilogue.residual_pixel + k;
      for (int q = 0; q < width; ++q)
        for (int u = 0; u < CV; ++u) y[u][q] += load<W>(from + q * epilogue.residual_pixel + u * W);
    }
    if (epilogue.relu)
      for (int u = 0; u < CV; ++u)
        for (int q = 0; q < 4; ++q) y[u][q] = simd::relu<W>(y[u][q]);
    float* to = out + pixel * map.pixel + k;
#pragma GCC unroll 4
    for (int q = 0; q < 4; ++q) {
      if (q < width) {
#pragma GCC unroll 2
        for (int u = 0; u < CV; ++u) store<W>(to + q * map.pixel + u * W, y[u][q]);
      }
    }
  }
}

// Calls run(Run, first tile's index in the block) for tiles [begin, end) of a map cut into 4x4
// tiles; every run lies in one tile row and has at most `longest` tiles.
template <class Fn>
THORAX_INLINE void for_each_run(const Tiling& tiling, std::int64_t begin, std::int64_t end,
                                std::int64_t longest, Fn&& fn) {
  std::int64_t tile = begin;
  while (tile < end) {
    const std::int64_t column = tile % tiling.columns, line = tile / tiling.columns;
    std::int64_t tiles = tiling.columns - column;
    if (tiles > longest) tiles = longest;
    if (tiles > end - tile) tiles = end - tile;
    fn(Run{line / tiling.rows, line % tiling.rows * 4, column * 4, tiles}, tile - begin);
    tile += tiles;
  }
}

// Calls part(integral_constant CV, c) so that the parts cover [0, channels): pairs of vectors, then
// one, then one that ends at the last channel and repeats some of the work (channels >= W).
template <int W, class Pair, class Single>
THORAX_INLINE void for_channels(std::int64_t channels, Pair&& pair, Single&& single) {
  std::int64_t c = 0;
  for (; c + 2 * W <= channels; c += 2 * W) pair(c);
  if (c + W <= channels) {
    single(c);
    c += W;
  }
  if (c < channels) single(channels - W);
}

// The kernels of winograd.h
// ---------------------------------------------------------------------------

template <int W>
void data_block(const Tiling& tiling, std::int64_t begin, std::int64_t end, const Map& map,
                const float* data, const Map& gate_map, const float* gate, float* v,
                std::int64_t plane, std::int64_t row, const float* zeros) {
  for_each_run(tiling, begin, end, kMaxRun, [&](Run run, std::int64_t t) {
    run.y -= tiling.pad_y;
    run.x -= tiling.pad_x;
    float* to = v + t * row;
    for_channels<W>(
        map.channels,
        [&](std::int64_t c) {
          if (gate)
            transform_data_run<W, 2, true>(map, data, gate_map, gate, run, c, to, plane, row,
                                           zeros);
          else
            transform_data_run<W, 2, false>(map, data, map, data, run, c, to, plane, row, zeros);
        },
        [&](std::int64_t c) {
          if (gate)
            transform_data_run<W, 1, true>(map, data, gate_map, gate, run, c, to, plane, row,
                                           zeros);
          else
            transform_data_run<W, 1, false>(map, data, map, data, run, c, to, plane, row, zeros);
        });
  });
}

template <int W>
void gradient_block(const Tiling& tiling, std::int64_t begin, std::int64_t end, const Map& map,
                    const float* data, const Map& gate_map, const float* gate, float* m,
                    std::int64_t plane, std::int64_t row, float* sums, const float* zeros) {
  for_each_run(tiling, begin, end, 1, [&](Run run, std::int64_t t) {
    const auto part = [&](std::int64_t k) {
      if (gate)
        transform_gradient_tile<W, true>(map, data, gate_map, gate, run, k, m + t * row, plane,
                                         sums, zeros);
      else
        transform_gradient_tile<W, false>(map, data, map, data, run, k, m + t * row, plane, sums,
                                          zeros);
    };
    for_channels<W>(
        map.channels,
        [&](std::int64_t k) {
          part(k);
          part(k + W);
        },
        part);
  });
}

template <int W>
void output_block(const Tiling& tiling, std::int64_t begin, std::int64_t end, const Map& map,
                  float* out, std::int64_t first, std::int64_t last, const float* m,
                  std::int64_t plane, std::int64_t row, const Epilogue& epilogue) {
  for_each_run(tiling, begin, end, 1, [&](const Run& run, std::int64_t t) {
    const float* from = m + t * row - first;
    for_channels<W>(
        last - first,
        [&](std::int64_t k) {
          transform_output_tile<W, 2>(map, out, run, first + k, from, plane, epilogue);
        },
        [&](std::int64_t k) {
          transform_output_tile<W, 1>(map, out, run, first + k, from, plane, epilogue);
        });
  });
}

// 36 planes of U for one vector of output channels at one input channel.
template <int W>
THORAX_INLINE void transform_filter_vector(const Vec<W> g[3][3], float* u, std::int64_t plane) {
  Vec<W> half[6][3];
  for (int s = 0; s < 3; ++s) {
    const Vec<W> in[3] = {g[0][s], g[1][s], g[2][s]};
    Vec<W> out[6];
    filter_transform(in, out);
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) half[i][s] = out[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < 6; ++i) {
    Vec<W> out[6];
    filter_transform(half[i], out);
#pragma GCC unroll 6
    for (int j = 0; j < 6; ++j) store<W>(u + (i * 6 + j) * plane, out[j]);
  }
}

// U for the forward product: vectors of output channels k, reduction over input channels c.
template <int W>
void filter_forward(const float* w, std::int64_t outputs, std::int64_t inputs, std::int64_t first,
                    std::int64_t last, float* u, std::int64_t plane) {
  alignas(64) float turned[3][3][8][W];
  alignas(64) float zeros[8] = {};
  for (std::int64_t vector = first; vector < last; ++vector) {
    const gemm::PanelPlace place = gemm::panel_place(vector, gemm::vectors_for(outputs, W));
    float* const to = u + (place.first_vector * inputs + (vector - place.first_vector)) * W;
    const std::int64_t step = place.vectors * W;
    for (std::int64_t c0 = 0; c0 < inputs; c0 += 8) {
      const int count = inputs - c0 < 8 ? static_cast<int>(inputs - c0) : 8;
      const std::int64_t start = count == 8 || inputs < 8 ? c0 : inputs - 8;
      const int skip = static_cast<int>(c0 - start);
      for (int tap = 0; tap < 9; ++tap) {
        for (int half = 0; half < W; half += 8) {
          const float* rows[8];
          for (int lane = 0; lane < 8; ++lane) {
            const std::int64_t k = vector * W + half + lane;
            rows[lane] = k < outputs ? w + (k * 9 + tap) * inputs + start : zeros;
          }
          Vec<8> columns[8];
          simd::transpose8(rows, columns);
          for (int i = 0; i < 8; ++i) store<8>(&turned[tap / 3][tap % 3][i][half], columns[i]);
        }
      }
      for (int i = 0; i < count; ++i) {
        Vec<W> g[3][3];
#pragma GCC unroll 9
        for (int tap = 0; tap < 9; ++tap)
          g[tap / 3][tap % 3] = load<W>(turned[tap / 3][tap % 3][i + skip]);
        transform_filter_vector<W>(g, to + (c0 + i) * step, plane);
      }
    }
  }
}

// U for the gradient of the data: vectors of input channels c, reduction over output channels k,
// the filter turned by half a turn.
template <int W>
void filter_backward(const float* w, std::int64_t outputs, std::int64_t inputs, std::int64_t first,
                     std::int64_t last, float* u, std::int64_t plane) {
  for (std::int64_t vector = first; vector < last; ++vector) {
    const gemm::PanelPlace place = gemm::panel_place(vector, gemm::vectors_for(inputs, W));
    float* const to = u + (place.first_vector * outputs + (vector - place.first_vector)) * W;
    const std::int64_t step = place.vectors * W, c = vector * W;
    const int lanes = inputs - c < W ? static_cast<int>(inputs - c) : W;
    for (std::int64_t k = 0; k < outputs; ++k) {
      Vec<W> g[3][3];
#pragma GCC unroll 9
      for (int tap = 0; tap < 9; ++tap)
        g[2 - tap / 3][2 - tap % 3] = simd::load_first<W>(w + (k * 9 + tap) * inputs + c, lanes);
      transform_filter_vector<W>(g, to + k * step, plane);
    }
  }
}

template <int W, int MR, int NV>
THORAX_INLINE void product_tile(std::int64_t depth, const float* a, std::int64_t a_row,
                                const float* b, float* c, std::int64_t c_row) {
  simd::Tile<W, MR, NV> tile;
  tile.clear();
  tile.multiply_rows(depth, a, a_row, b, NV * W);
  tile.store_to(c, c_row);
}

template <int W, int NV>
THORAX_INLINE void product_rows(std::int64_t rows, std::int64_t depth, const float* a,
                                std::int64_t a_row, const float* b, float* c, std::int64_t c_row) {
  constexpr int MR = gemm::kTileRows<W, NV>;
  std::int64_t t = 0;
  for (; t + MR <= rows; t += MR)
    product_tile<W, MR, NV>(depth, a + t * a_row, a_row, b, c + t * c_row, c_row);
  if constexpr (MR > 4)
    for (; t + 4 <= rows; t += 4)
      product_tile<W, 4, NV>(depth, a + t * a_row, a_row, b, c + t * c_row, c_row);
  for (; t + 2 <= rows; t += 2)
    product_tile<W, 2, NV>(depth, a + t * a_row, a_row, b, c + t * c_row, c_row);
  for (; t < rows; ++t)
    product_tile<W, 1, NV>(depth, a + t * a_row, a_row, b, c + t * c_row, c_row);
}

// M[xi] = V[xi] U[xi] for the panels [first, last) (in vectors).
template <int W>
void product_block(std::int64_t rows, std::int64_t depth, const float* v, std::int64_t v_plane,
                   std::int64_t v_row, const float* u, std::int64_t u_plane, std::int64_t total,
                   std::int64_t first, std::int64_t last, float* m, std::int64_t m_plane,
                   std::int64_t m_row) {
  for (int xi = 0; xi < 36; ++xi) {
    const float* const a = v + xi * v_plane;
    std::int64_t vector = first;
    while (vector < last) {
      const gemm::PanelPlace place = gemm::panel_place(vector, total);
      const float* const b = u + xi * u_plane + place.first_vector * depth * W;
      float* const c = m + xi * m_plane + (vector - first) * W;
      if (place.vectors == 3)
        product_rows<W, 3>(rows, depth, a, v_row, b, c, m_row);
      else if (place.vectors == 2)
        product_rows<W, 2>(rows, depth, a, v_row, b, c, m_row);
      else
        product_rows<W, 1>(rows, depth, a, v_row, b, c, m_row);
      vector += place.vectors;
    }
  }
}

// S[xi][k][c] (+)= sum over tiles of M[xi][tile][k] V[xi][tile][c].
template <int W>
void outer_block(std::int64_t tiles, std::int64_t outputs, const float* m, std::int64_t m_plane,
                 std::int64_t m_row, std::int64_t vectors, const float* v, std::int64_t v_plane,
                 std::int64_t v_row, float* s, std::int64_t s_plane, std::int64_t s_row,
                 int first_xi, int last_xi, bool accumulate) {
  for (int xi = first_xi; xi < last_xi; ++xi)
    gemm::outer_product<W>(tiles, outputs, m + xi * m_plane, m_row, vectors, v + xi * v_plane,
                           v_row, s + xi * s_plane, s_row, accumulate);
}

// dw[k][3][3][c] = G^T (sum of `parts` partial S) G for output channels [first, last).
template <int W>
void filter_gradient(const float* s, std::int64_t parts, std::int64_t part, std::int64_t s_plane,
                     std::int64_t s_row, std::int64_t first, std::int64_t last, std::int64_t inputs,
                     float* dw) {
  for (std::int64_t k = first; k < last; ++k) {
    const auto vector = [&](std::int64_t c) {
      Vec<W> half[6][3];
      for (int i = 0; i < 6; ++i) {
        Vec<W> in[6];
#pragma GCC unroll 6
        for (int j = 0; j < 6; ++j) in[j] = load<W>(s + (i * 6 + j) * s_plane + k * s_row + c);
        for (std::int64_t p = 1; p < parts; ++p)
#pragma GCC unroll 6
          for (int j = 0; j < 6; ++j)
            in[j] += load<W>(s + p * part + (i * 6 + j) * s_plane + k * s_row + c);
        filter_adjoint(in, half[i]);
      }
#pragma GCC unroll 3
      for (int col = 0; col < 3; ++col) {
        Vec<W> in[6], out[3];
#pragma GCC unroll 6
        for (int i = 0; i < 6; ++i) in[i] = half[i][col];
        filter_adjoint(in, out);
#pragma GCC unroll 3
        for (int r = 0; r < 3; ++r) store<W>(dw + (k * 9 + r * 3 + col) * inputs + c, out[r]);
      }
    };
    for_channels<W>(
        inputs,
        [&](std::int64_t c) {
          vector(c);
          vector(c + W);
        },
        vector);
  }
}

template <int W>
constexpr Kernels make_kernels() {
  return Kernels{W,
                 data_block<W>,
                 gradient_block<W>,
                 output_block<W>,
                 filter_forward<W>,
                 filter_backward<W>,
                 product_block<W>,
                 outer_block<W>,
                 filter_gradient<W>};
}

}  // namespace THORAX_SIMD_TARGET
}  // namespace thorax::winograd
