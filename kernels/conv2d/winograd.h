// What conv2d_winograd.cpp needs from the vector kernels of winograd_core.h: plain structs and a
// table of functions per instruction set.
#pragma once

#include <cstdint>

namespace thorax::winograd {

// An NHWC map, possibly a channel slice: pixel is the distance in floats from one pixel to the
// next.
struct Map {
  std::int64_t batch, height, width, channels, pixel;
};

// The output cut into 4x4 tiles: `rows` x `columns` of them per image. Tile (r, c) needs the 6x6
// inputs from (4r - pad_y, 4c - pad_x).
struct Tiling {
  std::int64_t images, rows, columns, pad_y, pad_x;
  std::int64_t count() const { return images * rows * columns; }
};

// What is added to a finished output before the activation.
struct Epilogue {
  const float* bias = nullptr;      // per channel
  const float* residual = nullptr;  // a map of the output's size with its own pixel stride
  std::int64_t residual_pixel = 0;
  bool relu = false;
};

// Planes: 36 matrices, one per element of the transformed tile. Rows: tiles in V and M, output
// channels in S. All strides in floats. `zeros` is at least max(channels) zero floats.
struct Kernels {
  int width;
  // V = B^T d B for tiles [begin, end); gate = output of the ReLU d is the gradient of, or null.
  void (*data_block)(const Tiling&, std::int64_t begin, std::int64_t end, const Map&,
                     const float* data, const Map& gate_map, const float* gate, float* v,
                     std::int64_t plane, std::int64_t row, const float* zeros);
  // M = A e A^T for tiles [begin, end) of the output's gradient e. Adds the sum of e per channel to
  // `sums` when not null: whole vectors of channels first, then one vector that ends at the last.
  void (*gradient_block)(const Tiling&, std::int64_t begin, std::int64_t end, const Map&,
                         const float* data, const Map& gate_map, const float* gate, float* m,
                         std::int64_t plane, std::int64_t row, float* sums, const float* zeros);
  // Output channels [first, last) of y = A^T M A and its epilogue; m holds those channels only.
  void (*output_block)(const Tiling&, std::int64_t begin, std::int64_t end, const Map&, float* out,
                       std::int64_t first, std::int64_t last, const float* m, std::int64_t plane,
                       std::int64_t row, const Epilogue&);
  // U = G g G^T from KRSC filters, vectors [first, last) of the panels' channels.
  void (*filter_forward)(const float* w, std::int64_t outputs, std::int64_t inputs,
                         std::int64_t first, std::int64_t last, float* u, std::int64_t plane);
  void (*filter_backward)(const float* w, std::int64_t outputs, std::int64_t inputs,
                          std::int64_t first, std::int64_t last, float* u, std::int64_t plane);
  // M[xi] = V[xi] U[xi] for vectors [first, last) (whole panels) of `total`.
  void (*product_block)(std::int64_t tiles, std::int64_t depth, const float* v,
                        std::int64_t v_plane, std::int64_t v_row, const float* u,
                        std::int64_t u_plane, std::int64_t total, std::int64_t first,
                        std::int64_t last, float* m, std::int64_t m_plane, std::int64_t m_row);
  // S[xi] (+)= M[xi]^T V[xi] for planes [first_xi, last_xi).
  void (*outer_block)(std::int64_t tiles, std::int64_t outputs, const float* m,
                      std::int64_t m_plane, std::int64_t m_row, std::int64_t vectors,
                      const float* v, std::int64_t v_plane, std::int64_t v_row, float* s,
                      std::int64_t s_plane, std::int64_t s_row, int first_xi, int last_xi,
                      bool accumulate);
  // dw = G^T (S_0 + S_1 + ...) G for output channels [first, last); parts are summed in order.
  void (*filter_gradient)(const float* s, std::int64_t parts, std::int64_t part,
                          std::int64_t s_plane, std::int64_t s_row, std::int64_t first,
                          std::int64_t last, std::int64_t inputs, float* dw);
};

const Kernels& kernels_avx2();
const Kernels* kernels_avx512();  // null where the compiler or the machine has no AVX-512

}  // namespace thorax::winograd
