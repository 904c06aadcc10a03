// Matrix products for implicit-GEMM operations: plain structs and a table of functions per
// instruction set (gemm_core.h has the loops, gemm_avx2.cpp and gemm_avx512.cpp compile them).
#pragma once

#include <cstdint>

namespace thorax::gemm {

// The right-hand matrix (reduction x columns) is stored in panels of up to three vectors of
// columns, each panel [reduction][vectors * W] and contiguous: what one register tile reads in
// order.
struct PanelPlace {
  std::int64_t first_vector, vectors;
};
inline constexpr std::int64_t vectors_for(std::int64_t columns, std::int64_t width) {
  return (columns + width - 1) / width;
}
// The panel that holds a vector: pairs, with one triple in front when the number of vectors is odd.
inline constexpr PanelPlace panel_place(std::int64_t vector, std::int64_t total) {
  if (total == 1) return {0, 1};
  const std::int64_t front = total % 2 == 1 ? 3 : 0;
  if (vector < front) return {0, 3};
  return {front + (vector - front) / 2 * 2, 2};
}

// A product whose left rows lie anywhere: out[p][0..columns) = sum over taps t and channels c of
// rows[t * row_count + p][c] * B[t * depth + c][column], plus bias and residual, through ReLU.
struct GatherProduct {
  std::int64_t row_count, taps, depth, columns;
  const float* const* rows;      // [taps][row_count], each `depth` floats
  const float* panels;           // packed B with a reduction of taps * depth
  float* const* out;             // [row_count], each `columns` floats
  const float* bias;             // `columns` floats or null
  const float* const* residual;  // [row_count], each `columns` floats; or null
  bool relu;
};

struct Kernels {
  int width;
  void (*gather_product)(const GatherProduct&);
  // s[i][j] (+)= sum over p of a[p * a_row + i] * b[p * b_row + j] for i < rows and `vectors`
  // vectors j.
  void (*outer_product)(std::int64_t depth, std::int64_t rows, const float* a, std::int64_t a_row,
                        std::int64_t vectors, const float* b, std::int64_t b_row, float* s,
                        std::int64_t s_row, bool accumulate);
  // Packs columns [first * W, last * W) of B = transpose of a [columns][reduction] matrix.
  // Row k of the matrix starts at b + k * row; it consists of `taps` pieces of `depth` floats,
  // piece t at offset tap_offset[t].
  void (*pack_transposed)(const float* b, std::int64_t columns, std::int64_t row, std::int64_t taps,
                          const std::int64_t* tap_offset, std::int64_t depth, std::int64_t first,
                          std::int64_t last, float* panels);
  // Packs columns [first * W, last * W) of B whose reduction step (t, k) starts at
  // b + tap_offset[t] + k * row and has its columns side by side.
  void (*pack)(const float* b, std::int64_t columns, std::int64_t row, std::int64_t taps,
               const std::int64_t* tap_offset, std::int64_t depth, std::int64_t first,
               std::int64_t last, float* panels);
};

const Kernels& kernels_avx2();
const Kernels* kernels_avx512();  // null where the compiler or the machine has no AVX-512

// The kernels for a matrix of this many columns: AVX-512 where the machine has it and its wider
// vectors are not mostly empty.
const Kernels& kernels_for(std::int64_t columns);

}  // namespace thorax::gemm
