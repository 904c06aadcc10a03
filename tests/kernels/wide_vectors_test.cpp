// The 16-lane kernels, compiled here for the instruction set of the tests (the compiler splits each
// vector in two), against the 8-lane ones: the code that AVX-512 machines run, checked on any
// machine. A sum is formed in the same order whatever the width, so results must agree bit for bit.
#pragma GCC diagnostic ignored "-Wpsabi"  // 64-byte vectors are passed inline only
#include <doctest/doctest.h>

#include <cstring>
#include <vector>

#include "kernels/common/gemm_core.h"
#include "kernels/conv2d/winograd_core.h"
#include "tests/support/check.h"

using namespace thorax;

namespace {

using Floats = std::vector<float>;

Floats fill(std::int64_t count, std::uint64_t seed) {
  const Tensor t = test::normals({count}, seed);
  return {t.data<float>(), t.data<float>() + count};
}

bool same_bits(const Floats& a, const Floats& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

struct WinogradResult {
  Floats y, dw, sums;
};

WinogradResult winograd_pass(const winograd::Kernels& kernels, std::int64_t size, std::int64_t c,
                             std::int64_t k, bool turned) {
  const winograd::Map in{1, size, size, c, c}, out{1, size, size, k, k};
  const winograd::Tiling tiling{1, (size + 3) / 4, (size + 3) / 4, 1, 1};
  const Floats x = fill(size * size * c, 1), w = fill(9 * c * k, 2), bias = fill(k, 3);
  const Floats gate = fill(size * size * c, 4), dy = fill(size * size * k, 5);
  const std::int64_t width = kernels.width, tiles = tiling.count();
  const std::int64_t k_vectors = gemm::vectors_for(k, width),
                     c_vectors = gemm::vectors_for(c, width);
  const std::int64_t v_row = c_vectors * width, m_row = k_vectors * width;
  const std::int64_t v_plane = tiles * v_row, m_plane = tiles * m_row, u_plane = c * m_row;
  Floats v(36 * v_plane), m(36 * m_plane), u(36 * u_plane), zeros(std::max(c, k), 0.0f);
  WinogradResult result{Floats(size * size * k), Floats(9 * c * k), Floats(m_row)};
  // `turned` takes the filter of the data gradient, whose roles of c and k are exchanged.
  if (turned)
    kernels.filter_backward(w.data(), c, k, 0, k_vectors, u.data(), u_plane);
  else
    kernels.filter_forward(w.data(), k, c, 0, k_vectors, u.data(), u_plane);
  kernels.data_block(tiling, 0, tiles, in, x.data(), in, gate.data(), v.data(), v_plane, v_row,
                     zeros.data());
  kernels.product_block(tiles, c, v.data(), v_plane, v_row, u.data(), u_plane, k_vectors, 0,
                        k_vectors, m.data(), m_plane, m_row);
  winograd::Epilogue epilogue;
  epilogue.bias = bias.data();
  epilogue.residual = dy.data();
  epilogue.residual_pixel = k;
  epilogue.relu = true;
  kernels.output_block(tiling, 0, tiles, out, result.y.data(), 0, k, m.data(), m_plane, m_row,
                       epilogue);
  kernels.gradient_block(tiling, 0, tiles, out, dy.data(), out, nullptr, m.data(), m_plane, m_row,
                         result.sums.data(), zeros.data());
  Floats s(36 * k * v_row);
  kernels.outer_block(tiles, k, m.data(), m_plane, m_row, c_vectors, v.data(), v_plane, v_row,
                      s.data(), k * v_row, v_row, 0, 36, false);
  kernels.filter_gradient(s.data(), 1, 0, k * v_row, v_row, 0, k, c, result.dw.data());
  return result;
}

Floats gather_pass(const gemm::Kernels& kernels, std::int64_t pixels, std::int64_t depth,
                   std::int64_t columns, bool transposed) {
  constexpr std::int64_t kTaps = 3;
  const Floats a = fill(pixels * kTaps * depth, 6), b = fill(kTaps * depth * columns, 7);
  const Floats bias = fill(columns, 8);
  const std::int64_t vectors = gemm::vectors_for(columns, kernels.width);
  Floats panels(kTaps * depth * vectors * kernels.width), result(pixels * columns, NAN);
  const std::int64_t start = 0, offsets[kTaps] = {0, depth * columns, 2 * depth * columns};
  if (transposed)
    kernels.pack_transposed(b.data(), columns, kTaps * depth, 1, &start, kTaps * depth, 0, vectors,
                            panels.data());
  else
    kernels.pack(b.data(), columns, columns, kTaps, offsets, depth, 0, vectors, panels.data());
  std::vector<const float*> rows;
  for (std::int64_t t = 0; t < kTaps; ++t)
    for (std::int64_t p = 0; p < pixels; ++p) rows.push_back(a.data() + (p * kTaps + t) * depth);
  std::vector<float*> out;
  for (std::int64_t p = 0; p < pixels; ++p) out.push_back(result.data() + p * columns);
  kernels.gather_product({pixels, kTaps, depth, columns, rows.data(), panels.data(), out.data(),
                          bias.data(), nullptr, true});
  return result;
}

}  // namespace

TEST_CASE("16-lane Winograd kernels give the bits of the 8-lane ones") {
  const winograd::Kernels narrow = winograd::make_kernels<8>(), wide = winograd::make_kernels<16>();
  for (const auto& [size, c, k] :
       {std::array<std::int64_t, 3>{9, 16, 16}, std::array<std::int64_t, 3>{6, 18, 36},
        std::array<std::int64_t, 3>{13, 40, 17}, std::array<std::int64_t, 3>{8, 64, 72}}) {
    CAPTURE(size);
    CAPTURE(c);
    CAPTURE(k);
    for (const bool turned : {false, true}) {
      const WinogradResult a = winograd_pass(narrow, size, c, k, turned);
      const WinogradResult b = winograd_pass(wide, size, c, k, turned);
      CHECK(same_bits(a.y, b.y));
      CHECK(same_bits(a.dw, b.dw));
    }
  }
}

TEST_CASE("16-lane matrix products give the bits of the 8-lane ones") {
  const gemm::Kernels narrow = gemm::make_kernels<8>(), wide = gemm::make_kernels<16>();
  for (const std::int64_t columns : {1, 16, 18, 24, 36, 50, 64})
    for (const std::int64_t pixels : {1, 5, 13, 29})
      for (const bool transposed : {false, true}) {
        CAPTURE(columns);
        CAPTURE(pixels);
        CHECK(same_bits(gather_pass(narrow, pixels, 19, columns, transposed),
                        gather_pass(wide, pixels, 19, columns, transposed)));
      }
}
