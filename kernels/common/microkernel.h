// Register-tiled matrix product kernels, the innermost loops of every convolution provider of ours.
//
// A tile of MR x (NV vectors) sums lives in registers while the reduction runs; each step loads NV
// vectors of B and broadcasts MR scalars of A. On AVX2 (16 registers) the tiles are 6x2 and 4x3
// vectors: 12 independent sums hide the latency of two fused multiply-adds a cycle (4 cycles each
// on Zen 3). Every sum is formed in order of the reduction index by one accumulator, so a result
// depends neither on the tile an element falls into nor on the number of threads.
#pragma once

#include <cstdint>

#include "kernels/common/simd.h"

namespace thorax::simd {
inline namespace THORAX_SIMD_TARGET {

// Sums of MR rows: acc[i][j] += sum_k a[i * a_row + k * a_step] * b[k * b_step + j * W].
template <int W, int MR, int NV>
struct Tile {
  Vec<W> acc[MR][NV];

  inline __attribute__((always_inline)) void clear() {
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) acc[i][j] = Vec<W>{};
  }

  // A row by row (forward products): row i starts at a + i * a_row, the reduction runs along it.
  inline __attribute__((always_inline)) void multiply_rows(std::int64_t depth, const float* a,
                                                           std::int64_t a_row, const float* b,
                                                           std::int64_t b_step) {
    for (std::int64_t k = 0; k < depth; ++k) {
      Vec<W> bv[NV];
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) bv[j] = load<W>(b + j * W);
#pragma GCC unroll 16
      for (int i = 0; i < MR; ++i) {
        const float s = a[i * a_row];
#pragma GCC unroll 8
        for (int j = 0; j < NV; ++j) acc[i][j] += s * bv[j];
      }
      ++a;
      b += b_step;
    }
  }

  // The same with a pointer per row, for rows that lie anywhere (implicit GEMM).
  inline __attribute__((always_inline)) void multiply_gathered(std::int64_t depth,
                                                               const float* const* rows,
                                                               const float* b,
                                                               std::int64_t b_step) {
    const float* a[MR];
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) a[i] = rows[i];
    for (std::int64_t k = 0; k < depth; ++k) {
      Vec<W> bv[NV];
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) bv[j] = load<W>(b + j * W);
#pragma GCC unroll 16
      for (int i = 0; i < MR; ++i) {
        const float s = a[i][k];
#pragma GCC unroll 8
        for (int j = 0; j < NV; ++j) acc[i][j] += s * bv[j];
      }
      b += b_step;
    }
  }

  // A column by column (weight gradients): step k reads MR neighbours at a + k * a_step.
  inline __attribute__((always_inline)) void multiply_columns(std::int64_t depth, const float* a,
                                                              std::int64_t a_step, const float* b,
                                                              std::int64_t b_step) {
    for (std::int64_t k = 0; k < depth; ++k) {
      Vec<W> bv[NV];
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) bv[j] = load<W>(b + j * W);
#pragma GCC unroll 16
      for (int i = 0; i < MR; ++i) {
        const float s = a[i];
#pragma GCC unroll 8
        for (int j = 0; j < NV; ++j) acc[i][j] += s * bv[j];
      }
      a += a_step;
      b += b_step;
    }
  }

  inline __attribute__((always_inline)) void add_from(const float* c, std::int64_t c_row) {
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) acc[i][j] += load<W>(c + i * c_row + j * W);
  }

  inline __attribute__((always_inline)) void store_to(float* c, std::int64_t c_row) const {
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) store<W>(c + i * c_row + j * W, acc[i][j]);
  }
};

}  // namespace THORAX_SIMD_TARGET
}  // namespace thorax::simd
