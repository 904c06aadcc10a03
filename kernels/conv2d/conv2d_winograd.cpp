// 3x3 stride-1 convolution by Winograd's F(4x4, 3x3): 36 products where the direct sum takes 144.
// README.md has the equations, the two schedules and the error bound; winograd_core.h the
// arithmetic.
//
// Work is cut by the problem's size only, every sum is formed in a fixed order: results do not
// depend on the number of threads.
#include <algorithm>
#include <cstring>

#include "engine/runtime/allocator.h"
#include "engine/runtime/parallel.h"
#include "kernels/common/gemm.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d/winograd.h"

namespace thorax {
namespace {

using gemm::vectors_for;
using winograd::Epilogue;
using winograd::Kernels;
using winograd::Map;
using winograd::Tiling;

// Floats of cache that the transformed tiles of one block may take (of 512 KB second-level cache).
constexpr std::int64_t kBlockFloats = 96 * 1024;
// Products are cut by channels instead of tiles when the transformed filter passes the first and
// the transformed data stays below the second (floats).
constexpr std::int64_t kLargeFilter = 512 * 1024;
constexpr std::int64_t kWholeData = 4 * 1024 * 1024;
// Distance between planes is not a multiple of a power of two, so that 36 streams do not share
// cache sets.
constexpr std::int64_t kPlanePad = 16;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

// Rows of a power of two of floats would put a column of a matrix into a few cache sets.
std::int64_t padded(std::int64_t row) {
  return row >= 128 ? row + kPlanePad : row;
}

const Kernels& kernels_for(const Conv2dProblem& p) {
  const Kernels* const wide = winograd::kernels_avx512();
  return wide != nullptr && std::min(p.in_channels, p.out_channels) >= 16
             ? *wide
             : winograd::kernels_avx2();
}

Map map_of(const Tensor& t) {
  return {t.size(0), t.size(1), t.size(2), t.size(3), t.pixel_stride()};
}

// A pixel of zeros that stands for everything outside an image.
struct Zeros {
  Workspace<float> memory;
  explicit Zeros(std::int64_t channels) : memory(static_cast<std::size_t>(channels)) {
    std::fill_n(memory.data(), channels, 0.0f);
  }
  const float* data() const { return memory.data(); }
};

Workspace<float> floats(std::int64_t count) {
  return Workspace<float>(static_cast<std::size_t>(count));
}

// Tiles per block so that `per_tile` floats each fill the cache budget; at least two blocks when
// there is enough work to share, in multiples of 12 (the heights of all register tiles divide it).
std::int64_t tiles_per_block(std::int64_t tiles, std::int64_t per_tile, std::int64_t least,
                             std::int64_t most) {
  std::int64_t block = std::clamp(kBlockFloats / per_tile, least, most);
  block = std::min(block, ceil_div(tiles, 2));
  if (block >= 12) block = block / 12 * 12;
  return std::max<std::int64_t>(block, 1);
}

// One product of transformed data with transformed filters: the forward pass, or the gradient of
// the data with input and output exchanged.
struct Product {
  const Kernels& kernels;
  Tiling tiling;  // of the output
  Map in;
  const float* data;
  const float* gate;  // see Kernels::data_block
  Map gate_map;
  Map out;
  float* result;
  Epilogue epilogue;
  // Transforms filter vectors [first, last) of the result's channels.
  decltype(Kernels::filter_forward) filter;
  const float* w;
  std::int64_t filter_outputs, filter_inputs;
  const float* zeros;

  std::int64_t depth() const { return in.channels; }
  std::int64_t data_row() const {
    return padded(vectors_for(depth(), kernels.width) * kernels.width);
  }
  std::int64_t vectors() const { return vectors_for(out.channels, kernels.width); }

  void run() const {
    const std::int64_t filter_floats = 36 * depth() * vectors() * kernels.width;
    const std::int64_t data_floats = 36 * tiling.count() * data_row();
    if (filter_floats >= kLargeFilter && data_floats <= kWholeData && vectors() >= 4)
      by_channels();
    else
      by_tiles();
  }

  // Few channels: the whole transformed filter stays cached; each task takes a block of tiles
  // through all three steps.
  void by_tiles() const {
    const std::int64_t columns = vectors() * kernels.width;
    const std::int64_t u_plane = depth() * columns + kPlanePad;
    const Workspace<float> u = floats(36 * u_plane);
    parallel_for(0, vectors(), 1, [&](std::int64_t first, std::int64_t last) {
      filter(w, filter_outputs, filter_inputs, first, last, u.data(), u_plane);
    });
    // More channels than the cache holds blocks of: then larger blocks, to read the filter less
    // often.
    const std::int64_t block = tiles_per_block(tiling.count(), 36 * (data_row() + columns), 24, 48);
    const std::int64_t v_plane = block * data_row() + kPlanePad;
    const std::int64_t m_plane = block * columns + kPlanePad;
    parallel_for(0, tiling.count(), block, [&](std::int64_t begin, std::int64_t end) {
      const Workspace<float> v = floats(36 * v_plane), m = floats(36 * m_plane);
      kernels.data_block(tiling, begin, end, in, data, gate_map, gate, v.data(), v_plane,
                         data_row(), zeros);
      kernels.product_block(end - begin, depth(), v.data(), v_plane, data_row(), u.data(), u_plane,
                            vectors(), 0, vectors(), m.data(), m_plane, columns);
      kernels.output_block(tiling, begin, end, out, result, 0, out.channels, m.data(), m_plane,
                           columns, epilogue);
    });
  }

  // Many channels, few tiles: the transformed filter would be the largest thing in memory. All
  // tiles are transformed first; each task then transforms the filters of a few output channels and
  // is done with them after one product.
  void by_channels() const {
    const std::int64_t tiles = tiling.count(), v_plane = tiles * data_row() + kPlanePad;
    const Workspace<float> v = floats(36 * v_plane);
    parallel_for(0, tiles, 8, [&](std::int64_t begin, std::int64_t end) {
      kernels.data_block(tiling, begin, end, in, data, gate_map, gate,
                         v.data() + begin * data_row(), v_plane, data_row(), zeros);
    });
    // Two or four vectors of filters per task, the odd triple of panel_place going with the first.
    const std::int64_t total = vectors(), front = total % 2, step = total >= 32 ? 4 : 2;
    const std::int64_t tasks = std::max<std::int64_t>(1, (total - front) / step);
    const auto boundary = [&](std::int64_t task) {
      return task == 0 ? 0 : task == tasks ? total : front + step * task;
    };
    const std::int64_t block = std::min<std::int64_t>(tiles, 96);
    parallel_for(0, tasks, 1, [&](std::int64_t task, std::int64_t) {
      const std::int64_t first = boundary(task), last = boundary(task + 1);
      const std::int64_t columns = (last - first) * kernels.width;
      const std::int64_t u_plane = depth() * columns + kPlanePad;
      const std::int64_t m_plane = block * columns + kPlanePad;
      const Workspace<float> u = floats(36 * u_plane), m = floats(36 * m_plane);
      // Panels are addressed from the first of the whole matrix.
      float* const panels = u.data() - first * depth() * kernels.width;
      filter(w, filter_outputs, filter_inputs, first, last, panels, u_plane);
      const std::int64_t channel = first * kernels.width;
      const std::int64_t channels_end = std::min(out.channels, last * kernels.width);
      for (std::int64_t begin = 0; begin < tiles; begin += block) {
        const std::int64_t end = std::min(tiles, begin + block);
        kernels.product_block(end - begin, depth(), v.data() + begin * data_row(), v_plane,
                              data_row(), panels, u_plane, total, first, last, m.data(), m_plane,
                              columns);
        kernels.output_block(tiling, begin, end, out, result, channel, channels_end, m.data(),
                             m_plane, columns, epilogue);
      }
    });
  }
};

Tiling tiling_of(std::int64_t images, std::int64_t height, std::int64_t width, std::int64_t pad_h,
                 std::int64_t pad_w) {
  return {images, ceil_div(height, 4), ceil_div(width, 4), pad_h, pad_w};
}

void forward(const Conv2dProblem& p, const Tensor& x, const Tensor& w, const Tensor& bias,
             const Tensor& residual, const Tensor& y) {
  if (y.numel() == 0) return;
  const Kernels& kernels = kernels_for(p);
  const Zeros zeros(p.in_channels);
  Epilogue epilogue;
  if (bias.defined()) epilogue.bias = bias.data<float>();
  if (residual.defined()) {
    epilogue.residual = residual.data<float>();
    epilogue.residual_pixel = residual.pixel_stride();
  }
  epilogue.relu = p.relu;
  const Map in = map_of(x);
  Product{kernels,
          tiling_of(p.batch, p.out_height(), p.out_width(), p.pad_h, p.pad_w),
          in,
          x.data<float>(),
          nullptr,
          in,
          map_of(y),
          y.data<float>(),
          epilogue,
          kernels.filter_forward,
          w.data<float>(),
          p.out_channels,
          p.in_channels,
          zeros.data()}
      .run();
}

void backward_data(const Conv2dProblem& p, const Tensor& dy, const Tensor& w, const Tensor& y,
                   const Tensor& dx) {
  if (dx.numel() == 0) return;
  const Kernels& kernels = kernels_for(p);
  const Zeros zeros(p.out_channels);
  const Map in = map_of(dy);
  Product{kernels,
          tiling_of(p.batch, p.height, p.width, 2 - p.pad_h, 2 - p.pad_w),
          in,
          dy.data<float>(),
          p.relu ? y.data<float>() : nullptr,
          p.relu ? map_of(y) : in,
          map_of(dx),
          dx.data<float>(),
          Epilogue{},
          kernels.filter_backward,
          w.data<float>(),
          p.out_channels,
          p.in_channels,
          zeros.data()}
      .run();
}

// dw = G^T (sum over tiles of (A dy A^T) (B^T x B)^T) G.
struct FilterGradient {
  const Kernels& kernels;
  Tiling tiling;
  Map x_map, dy_map, gate_map;
  const float *x, *dy, *gate;
  float *dw, *dbias;
  const float* zeros;

  std::int64_t outputs() const { return dy_map.channels; }
  std::int64_t vectors() const { return vectors_for(x_map.channels, kernels.width); }
  std::int64_t v_row() const { return padded(vectors() * kernels.width); }
  std::int64_t m_row() const {
    return padded(vectors_for(outputs(), kernels.width) * kernels.width);
  }
  // Blocks keep their own sums of dy: m_row() floats per block.
  void finish_bias(const float* sums, std::int64_t blocks) const {
    if (!dbias) return;
    const std::int64_t whole = outputs() / kernels.width * kernels.width;
    for (std::int64_t k = 0; k < outputs(); ++k) {
      const std::int64_t place = k < whole ? k : whole + k - (outputs() - kernels.width);
      double sum = 0;
      for (std::int64_t b = 0; b < blocks; ++b) sum += double(sums[b * m_row() + place]);
      dbias[k] = static_cast<float>(sum);
    }
  }

  void run() const {
    const std::int64_t sum_floats = 36 * outputs() * v_row();
    const std::int64_t tile_floats = 36 * tiling.count() * (v_row() + m_row());
    if (sum_floats >= kLargeFilter && tile_floats <= 2 * kWholeData && outputs() >= 48)
      by_channels();
    else
      by_tiles();
  }

  // Tiles are dealt to a few parts; each part has its own sums, added in order at the end.
  void by_tiles() const {
    const std::int64_t s_plane = outputs() * v_row() + kPlanePad, part_floats = 36 * s_plane;
    const std::int64_t tiles = tiling.count();
    const std::int64_t parts = std::clamp<std::int64_t>(
        std::min(4 * 1024 * 1024 / part_floats, ceil_div(tiles, 48)), 2, 16);
    const std::int64_t per_part = ceil_div(tiles, parts);
    const std::int64_t used = ceil_div(tiles, per_part);
    const std::int64_t block = std::min(
        per_part, std::clamp<std::int64_t>(kBlockFloats / (36 * (v_row() + m_row())), 24, 64));
    const std::int64_t v_plane = block * v_row() + kPlanePad, m_plane = block * m_row() + kPlanePad;
    const Workspace<float> s = floats(used * part_floats), sums = floats(used * m_row());
    parallel_for(0, tiles, per_part, [&](std::int64_t from, std::int64_t to) {
      const Workspace<float> v = floats(36 * v_plane), m = floats(36 * m_plane);
      const std::int64_t part = from / per_part;
      float* const own = dbias ? sums.data() + part * m_row() : nullptr;
      if (own) std::fill_n(own, m_row(), 0.0f);
      for (std::int64_t begin = from; begin < to; begin += block) {
        const std::int64_t end = std::min(to, begin + block);
        kernels.data_block(tiling, begin, end, x_map, x, x_map, nullptr, v.data(), v_plane, v_row(),
                           zeros);
        kernels.gradient_block(tiling, begin, end, dy_map, dy, gate_map, gate, m.data(), m_plane,
                               m_row(), own, zeros);
        kernels.outer_block(end - begin, outputs(), m.data(), m_plane, m_row(), vectors(), v.data(),
                            v_plane, v_row(), s.data() + part * part_floats, s_plane, v_row(), 0,
                            36, begin > from);
      }
    });
    const std::int64_t grain = std::max<std::int64_t>(1, 2048 / x_map.channels);
    parallel_for(0, outputs(), grain, [&](std::int64_t first, std::int64_t last) {
      kernels.filter_gradient(s.data(), used, part_floats, s_plane, v_row(), first, last,
                              x_map.channels, dw);
    });
    finish_bias(sums.data(), used);
  }

  // Large filters, few tiles: everything is transformed first, then each task sums a few output
  // channels over all tiles.
  void by_channels() const {
    constexpr std::int64_t kTilesPerTask = 8, kOutputsPerTask = 24;
    const std::int64_t tiles = tiling.count();
    const std::int64_t v_plane = tiles * v_row() + kPlanePad, m_plane = tiles * m_row() + kPlanePad;
    const std::int64_t blocks = ceil_div(tiles, kTilesPerTask);
    const Workspace<float> v = floats(36 * v_plane), m = floats(36 * m_plane);
    const Workspace<float> sums = floats(blocks * m_row());
    parallel_for(0, tiles, kTilesPerTask, [&](std::int64_t begin, std::int64_t end) {
      float* const own = dbias ? sums.data() + begin / kTilesPerTask * m_row() : nullptr;
      if (own) std::fill_n(own, m_row(), 0.0f);
      kernels.data_block(tiling, begin, end, x_map, x, x_map, nullptr, v.data() + begin * v_row(),
                         v_plane, v_row(), zeros);
      kernels.gradient_block(tiling, begin, end, dy_map, dy, gate_map, gate,
                             m.data() + begin * m_row(), m_plane, m_row(), own, zeros);
    });
    parallel_for(0, outputs(), kOutputsPerTask, [&](std::int64_t first, std::int64_t last) {
      const std::int64_t s_plane = (last - first) * v_row() + kPlanePad;
      const Workspace<float> s = floats(36 * s_plane);
      kernels.outer_block(tiles, last - first, m.data() + first, m_plane, m_row(), vectors(),
                          v.data(), v_plane, v_row(), s.data(), s_plane, v_row(), 0, 36, false);
      kernels.filter_gradient(s.data(), 1, 0, s_plane, v_row(), 0, last - first, x_map.channels,
                              dw + first * 9 * x_map.channels);
    });
    finish_bias(sums.data(), blocks);
  }
};

void backward_filter(const Conv2dProblem& p, const Tensor& x, const Tensor& dy, const Tensor& y,
                     const Tensor& dw, const Tensor& dbias) {
  float* const bias_gradient = dbias.defined() ? dbias.data<float>() : nullptr;
  if (dy.numel() == 0) {
    dw.fill(0);
    if (bias_gradient) dbias.fill(0);
    return;
  }
  const Zeros zeros(std::max(p.in_channels, p.out_channels));
  const Map dy_map = map_of(dy);
  FilterGradient{kernels_for(p),
                 tiling_of(p.batch, p.out_height(), p.out_width(), p.pad_h, p.pad_w),
                 map_of(x),
                 dy_map,
                 p.relu ? map_of(y) : dy_map,
                 x.data<float>(),
                 dy.data<float>(),
                 p.relu ? y.data<float>() : nullptr,
                 dw.data<float>(),
                 bias_gradient,
                 zeros.data()}
      .run();
}

// Wherever the algorithm exists it takes about half the time of a direct convolution
// (bench/conv2d_bench). Vectors run over channels, so at least one full vector of both is needed.
int priority(const Conv2dProblem& p) {
  const bool fits = p.dtype == DType::f32 && p.kernel_h == 3 && p.kernel_w == 3 &&
                    p.stride_h == 1 && p.stride_w == 1 && p.dilation_h == 1 && p.dilation_w == 1 &&
                    p.groups == 1 && p.in_channels >= 8 && p.out_channels >= 8;
  return fits ? 30 : -1;
}

}  // namespace

THORAX_PROVIDER(conv2d_winograd, conv2d_providers(),
                {.name = "winograd",
                 .device = DeviceKind::cpu,
                 .priority = priority,
                 .forward = forward,
                 .backward_data = backward_data,
                 .backward_filter = backward_filter});

}  // namespace thorax
