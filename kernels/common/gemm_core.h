// The loops behind gemm.h, templates on the vector width.
#pragma once

#include <cstdint>

#include "kernels/common/gemm.h"
#include "kernels/common/microkernel.h"
#include "kernels/common/simd.h"
#include "kernels/common/transpose.h"

namespace thorax::gemm {
inline namespace THORAX_SIMD_TARGET {

#define THORAX_INLINE inline __attribute__((always_inline))

// Register tile heights: 12 to 18 independent sums on AVX2's 16 registers, up to 24 on
// AVX-512's 32.
template <int W, int NV>
inline constexpr int kTileRows = W == 16 ? (NV == 3 ? 8 : 12)
                                         : (NV == 3   ? 4
                                            : NV == 2 ? 6
                                                      : 12);

template <int W, int MR, int NV>
THORAX_INLINE void gather_tile(const GatherProduct& g, std::int64_t p, const float* b,
                               std::int64_t column) {
  simd::Tile<W, MR, NV> tile;
  tile.clear();
  for (std::int64_t t = 0; t < g.taps; ++t)
    tile.multiply_gathered(g.depth, g.rows + t * g.row_count + p, b + t * g.depth * NV * W, NV * W);
  const int last =
      g.columns - column >= NV * W ? W : static_cast<int>(g.columns - column - (NV - 1) * W);
#pragma GCC unroll 8
  for (int j = 0; j < NV; ++j) {
    const int lanes = j == NV - 1 ? last : W;
    const simd::Vec<W> shift =
        g.bias ? simd::load_first<W>(g.bias + column + j * W, lanes) : simd::Vec<W>{};
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
      simd::Vec<W> v = tile.acc[i][j] + shift;
      if (g.residual) v += simd::load_first<W>(g.residual[p + i] + column + j * W, lanes);
      if (g.relu) v = simd::relu<W>(v);
      simd::store_first<W>(g.out[p + i] + column + j * W, v, lanes);
    }
  }
}

template <int W, int NV>
THORAX_INLINE void gather_panel(const GatherProduct& g, std::int64_t p, std::int64_t end,
                                const float* b, std::int64_t column) {
  constexpr int MR = kTileRows<W, NV>;
  for (; p + MR <= end; p += MR) gather_tile<W, MR, NV>(g, p, b, column);
  if constexpr (MR > 4)
    for (; p + 4 <= end; p += 4) gather_tile<W, 4, NV>(g, p, b, column);
  for (; p + 2 <= end; p += 2) gather_tile<W, 2, NV>(g, p, b, column);
  for (; p < end; ++p) gather_tile<W, 1, NV>(g, p, b, column);
}

// Rows in groups small enough that one group's inputs stay in the first-level cache while all
// panels pass over them.
template <int W>
void gather_product(const GatherProduct& g) {
  const std::int64_t total = vectors_for(g.columns, W), reduction = g.taps * g.depth;
  for (std::int64_t vector = 0; vector < total;) {
    const PanelPlace place = panel_place(vector, total);
    const float* const b = g.panels + vector * W * reduction;
    if (place.vectors == 3)
      gather_panel<W, 3>(g, 0, g.row_count, b, vector * W);
    else if (place.vectors == 2)
      gather_panel<W, 2>(g, 0, g.row_count, b, vector * W);
    else
      gather_panel<W, 1>(g, 0, g.row_count, b, vector * W);
    vector += place.vectors;
  }
}

template <int W, int MR, int NV>
THORAX_INLINE void outer_tile(std::int64_t depth, const float* a, std::int64_t a_row,
                              const float* b, std::int64_t b_row, float* s, std::int64_t s_row,
                              bool accumulate) {
  simd::Tile<W, MR, NV> tile;
  tile.clear();
  tile.multiply_columns(depth, a, a_row, b, b_row);
  if (accumulate) tile.add_from(s, s_row);
  tile.store_to(s, s_row);
}

template <int W, int NV>
THORAX_INLINE void outer_panel(std::int64_t depth, std::int64_t rows, const float* a,
                               std::int64_t a_row, const float* b, std::int64_t b_row, float* s,
                               std::int64_t s_row, bool accumulate) {
  constexpr int MR = kTileRows<W, NV>;
  std::int64_t i = 0;
  for (; i + MR <= rows; i += MR)
    outer_tile<W, MR, NV>(depth, a + i, a_row, b, b_row, s + i * s_row, s_row, accumulate);
  if constexpr (MR > 4)
    for (; i + 4 <= rows; i += 4)
      outer_tile<W, 4, NV>(depth, a + i, a_row, b, b_row, s + i * s_row, s_row, accumulate);
  for (; i + 2 <= rows; i += 2)
    outer_tile<W, 2, NV>(depth, a + i, a_row, b, b_row, s + i * s_row, s_row, accumulate);
  for (; i < rows; ++i)
    outer_tile<W, 1, NV>(depth, a + i, a_row, b, b_row, s + i * s_row, s_row, accumulate);
}

template <int W>
void outer_product(std::int64_t depth, std::int64_t rows, const float* a, std::int64_t a_row,
                   std::int64_t vectors, const float* b, std::int64_t b_row, float* s,
                   std::int64_t s_row, bool accumulate) {
  for (std::int64_t vector = 0; vector < vectors;) {
    const PanelPlace place = panel_place(vector, vectors);
    const float* const from = b + vector * W;
    float* const to = s + vector * W;
    if (place.vectors == 3)
      outer_panel<W, 3>(depth, rows, a, a_row, from, b_row, to, s_row, accumulate);
    else if (place.vectors == 2)
      outer_panel<W, 2>(depth, rows, a, a_row, from, b_row, to, s_row, accumulate);
    else
      outer_panel<W, 1>(depth, rows, a, a_row, from, b_row, to, s_row, accumulate);
    vector += place.vectors;
  }
}

template <int W>
void pack_transposed(const float* b, std::int64_t columns, std::int64_t row, std::int64_t taps,
                     const std::int64_t* tap_offset, std::int64_t depth, std::int64_t first,
                     std::int64_t last, float* panels) {
  const std::int64_t total = vectors_for(columns, W), reduction = taps * depth;
  for (std::int64_t vector = first; vector < last; ++vector) {
    const PanelPlace place = panel_place(vector, total);
    const std::int64_t step = place.vectors * W;
    float* to = panels + place.first_vector * W * reduction + (vector - place.first_vector) * W;
    for (std::int64_t t = 0; t < taps; ++t, to += depth * step) {
      const float* const from = b + vector * W * row + tap_offset[t];
      std::int64_t k = 0;
      if ((vector + 1) * W <= columns) {
        for (; k + 8 <= depth; k += 8) {
          for (int half = 0; half < W; half += 8) {
            const float* rows[8];
            simd::Vec<8> turned[8];
            for (int i = 0; i < 8; ++i) rows[i] = from + (half + i) * row + k;
            simd::transpose8(rows, turned);
            for (int i = 0; i < 8; ++i) simd::store<8>(to + (k + i) * step + half, turned[i]);
          }
        }
      }
      for (; k < depth; ++k)
        for (int lane = 0; lane < W; ++lane)
          to[k * step + lane] = vector * W + lane < columns ? from[lane * row + k] : 0.0f;
    }
  }
}

template <int W>
void pack(const float* b, std::int64_t columns, std::int64_t row, std::int64_t taps,
          const std::int64_t* tap_offset, std::int64_t depth, std::int64_t first, std::int64_t last,
          float* panels) {
  const std::int64_t total = vectors_for(columns, W), reduction = taps * depth;
  for (std::int64_t vector = first; vector < last; ++vector) {
    const PanelPlace place = panel_place(vector, total);
    const std::int64_t step = place.vectors * W;
    const int lanes = columns - vector * W < W ? static_cast<int>(columns - vector * W) : W;
    float* to = panels + place.first_vector * W * reduction + (vector - place.first_vector) * W;
    for (std::int64_t t = 0; t < taps; ++t)
      for (std::int64_t k = 0; k < depth; ++k, to += step)
        simd::store<W>(to, simd::load_first<W>(b + tap_offset[t] + k * row + vector * W, lanes));
  }
}

template <int W>
constexpr Kernels make_kernels() {
  return Kernels{W, gather_product<W>, outer_product<W>, pack_transposed<W>, pack<W>};
}

}  // namespace THORAX_SIMD_TARGET
}  // namespace thorax::gemm
