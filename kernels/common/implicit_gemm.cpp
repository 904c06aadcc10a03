#include "kernels/common/implicit_gemm.h"

#include <algorithm>
#include <vector>

#include "engine/runtime/allocator.h"
#include "engine/runtime/parallel.h"
#include "kernels/common/gemm.h"
#include "kernels/common/lanes.h"

namespace thorax::gemm {
namespace {

// Pixels per task: their rows stay in the second-level cache while the filter's panels pass.
constexpr std::int64_t kBlock = 96;
// Below this many channels per group the rows are gathered into one (im2col): a tap alone would be
// shorter than the bookkeeping around it.
constexpr std::int64_t kShortDepth = 8;

struct ZeroFloats : Workspace<float> {
  explicit ZeroFloats(std::int64_t count) : Workspace<float>(static_cast<std::size_t>(count)) {
    std::fill_n(data(), count, 0.0f);
  }
};

// Walks the pixels of a batch x height x width grid in order without dividing.
struct Cursor {
  std::int64_t image, y, x, height, width;
  Cursor(std::int64_t pixel, std::int64_t h, std::int64_t w)
      : image(pixel / (h * w)), y(pixel / w % h), x(pixel % w), height(h), width(w) {}
  void next() {
    if (++x == width) {
      x = 0;
      if (++y == height) {
        y = 0;
        ++image;
      }
    }
  }
};

bool inside(std::int64_t v, std::int64_t extent) {
  return v >= 0 && v < extent;
}

// rows[t * count + i] = the channels that tap t reads for output pixel first + i, zeros outside.
void gather_rows(const ConvShape& s, Pixels x, std::int64_t channel, std::int64_t first,
                 std::int64_t count, const float* zeros, const float** rows) {
  for (std::int64_t r = 0; r < s.kernel_h; ++r) {
    for (std::int64_t c = 0; c < s.kernel_w; ++c) {
      const float** out = rows + (r * s.kernel_w + c) * count;
      Cursor at(first, s.out_height, s.out_width);
      for (std::int64_t i = 0; i < count; ++i, at.next()) {
        const std::int64_t h = at.y * s.stride_h - s.pad_h + r * s.dilation_h;
        const std::int64_t w = at.x * s.stride_w - s.pad_w + c * s.dilation_w;
        out[i] = inside(h, s.height) && inside(w, s.width)
                     ? x.at((at.image * s.height + h) * s.width + w) + channel
                     : zeros;
      }
    }
  }
}

// The same copied side by side: matrix[i][tap][channel], row stride in floats.
void gather_matrix(const ConvShape& s, Pixels x, std::int64_t channel, std::int64_t first,
                   std::int64_t count, float* matrix, std::int64_t row) {
  const std::int64_t depth = s.group_in(), piece = s.kernel_w * depth;
  // Taps of one filter row are neighbours in memory when pixels are dense.
  const bool dense = s.dilation_w == 1 && x.stride == depth;
  Cursor at(first, s.out_height, s.out_width);
  for (std::int64_t i = 0; i < count; ++i, at.next()) {
    float* out = matrix + i * row;
    const std::int64_t left = at.x * s.stride_w - s.pad_w;
    const bool whole = dense && left >= 0 && left + s.kernel_w <= s.width;
    for (std::int64_t r = 0; r < s.kernel_h; ++r, out += piece) {
      const std::int64_t h = at.y * s.stride_h - s.pad_h + r * s.dilation_h;
      if (!inside(h, s.height)) {
        for (std::int64_t k = 0; k < piece; ++k) out[k] = 0.0f;
        continue;
      }
      const float* const line = x.at((at.image * s.height + h) * s.width) + channel;
      if (whole) {
        const float* const from = line + left * depth;
        for (std::int64_t k = 0; k < piece; ++k) out[k] = from[k];
        continue;
      }
      for (std::int64_t c = 0; c < s.kernel_w; ++c) {
        const std::int64_t w = left + c * s.dilation_w;
        for (std::int64_t k = 0; k < depth; ++k)
          out[c * depth + k] = inside(w, s.width) ? line[w * x.stride + k] : 0.0f;
      }
    }
  }
}

// Rows of floats padded so that a column of them does not fall into few cache sets.
std::int64_t padded_row(std::int64_t floats) {
  return (floats + 15) / 16 * 16 + 16;
}

}  // namespace

void conv_forward(const ConvShape& s, Pixels x, const float* w, const float* bias, Pixels residual,
                  bool relu, Pixels y) {
  const std::int64_t depth = s.group_in(), columns = s.group_out(), taps = s.taps();
  const Kernels& kernels = kernels_for(columns);
  const std::int64_t vectors = vectors_for(columns, kernels.width);
  const std::int64_t panel_floats = taps * depth * vectors * kernels.width;
  const Workspace<float> panels(static_cast<std::size_t>(s.groups * panel_floats));
  const bool short_depth = depth < kShortDepth && taps > 1;
  const std::int64_t start = 0;
  parallel_for(0, s.groups * vectors, 1, [&](std::int64_t i, std::int64_t) {
    const std::int64_t g = i / vectors, v = i % vectors;
    kernels.pack_transposed(w + g * columns * taps * depth, columns, taps * depth, 1, &start,
                            taps * depth, v, v + 1, panels.data() + g * panel_floats);
  });
  const ZeroFloats zeros(depth);
  parallel_for(0, s.out_pixels(), kBlock, [&](std::int64_t first, std::int64_t last) {
    const std::int64_t count = last - first;
    const Workspace<const float*> rows(static_cast<std::size_t>((short_depth ? 1 : taps) * count));
    const Workspace<float*> out(static_cast<std::size_t>(count));
    const Workspace<const float*> added(static_cast<std::size_t>(count));
    const Workspace<float> matrix(static_cast<std::size_t>(short_depth ? count * taps * depth : 0));
    for (std::int64_t g = 0; g < s.groups; ++g) {
      if (short_depth) {
        gather_matrix(s, x, g * depth, first, count, matrix.data(), taps * depth);
        for (std::int64_t i = 0; i < count; ++i)
          rows[std::size_t(i)] = matrix.data() + i * taps * depth;
      } else {
        gather_rows(s, x, g * depth, first, count, zeros.data(), rows.data());
      }
      for (std::int64_t i = 0; i < count; ++i) {
        out[std::size_t(i)] = y.at(first + i) + g * columns;
        if (residual.data) added[std::size_t(i)] = residual.at(first + i) + g * columns;
      }
      kernels.gather_product({count, short_depth ? 1 : taps, short_depth ? taps * depth : depth,
                              columns, rows.data(), panels.data() + g * panel_floats, out.data(),
                              bias ? bias + g * columns : nullptr,
                              residual.data ? added.data() : nullptr, relu});
    }
  });
}

namespace {

// The pixels of x with the same remainders of the stride: all of them meet the same taps.
struct Phase {
  std::int64_t y, x;
  std::vector<std::int64_t> tap_offset;        // of the filter's pieces
  std::vector<std::int64_t> shift_y, shift_x;  // row of y = grid row + shift
  std::int64_t panel;                          // where its packed filter starts
};

std::vector<Phase> phases_of(const ConvShape& s, std::int64_t padded_columns) {
  std::vector<Phase> phases;
  std::int64_t panel = 0;
  for (std::int64_t y = 0; y < s.stride_h; ++y) {
    for (std::int64_t x = 0; x < s.stride_w; ++x) {
      Phase phase{y, x, {}, {}, {}, panel};
      for (std::int64_t r = 0; r < s.kernel_h; ++r) {
        const std::int64_t h = y + s.pad_h - r * s.dilation_h;
        if (h % s.stride_h != 0) continue;
        for (std::int64_t c = 0; c < s.kernel_w; ++c) {
          const std::int64_t w = x + s.pad_w - c * s.dilation_w;
          if (w % s.stride_w != 0) continue;
          phase.tap_offset.push_back((r * s.kernel_w + c) * s.group_in());
          phase.shift_y.push_back(h / s.stride_h);
          phase.shift_x.push_back(w / s.stride_w);
        }
      }
      panel += static_cast<std::int64_t>(phase.tap_offset.size()) * s.group_out() * padded_columns;
      phases.push_back(std::move(phase));
    }
  }
  return phases;
}

}  // namespace

void conv_adjoint(const ConvShape& s, Pixels y, Pixels gate, const float* w, const float* bias,
                  Pixels x) {
  // Gated elements are dropped once, in a copy.
  const std::int64_t copied = gate.data ? s.out_pixels() * s.out_channels : 0;
  const Workspace<float> copy(static_cast<std::size_t>(copied));
  if (gate.data) {
    parallel_for(0, s.out_pixels(), 1024, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t p = first; p < last; ++p) {
        const float *from = y.at(p), *g = gate.at(p);
        float* to = copy.data() + p * s.out_channels;
        for (std::int64_t k = 0; k < s.out_channels; ++k)
          to[k] = lanes::relu_gradient(g[k], from[k]);
      }
    });
    y = {copy.data(), s.out_channels};
  }
  const std::int64_t depth = s.group_out(), columns = s.group_in();
  const Kernels& kernels = kernels_for(columns);
  const std::int64_t vectors = vectors_for(columns, kernels.width);
  const std::int64_t row = s.taps() * columns;  // floats of one output channel's filter
  const std::vector<Phase> phases = phases_of(s, vectors * kernels.width);
  const std::int64_t group_floats = s.taps() * depth * vectors * kernels.width;
  const Workspace<float> panels(static_cast<std::size_t>(s.groups * group_floats));
  parallel_for(0, s.groups * vectors, 1, [&](std::int64_t i, std::int64_t) {
    const std::int64_t g = i / vectors, v = i % vectors;
    for (const Phase& phase : phases)
      kernels.pack(w + g * depth * row, columns, row,
                   static_cast<std::int64_t>(phase.tap_offset.size()), phase.tap_offset.data(),
                   depth, v, v + 1, panels.data() + g * group_floats + phase.panel);
  });
  const ZeroFloats zeros(depth);
  // Grid of stride x stride cells over x: a task takes all phases of its cells, so that y is read
  // once.
  const std::int64_t grid_h = (s.height + s.stride_h - 1) / s.stride_h;
  const std::int64_t grid_w = (s.width + s.stride_w - 1) / s.stride_w;
  parallel_for(0, s.batch * grid_h * grid_w, kBlock, [&](std::int64_t first, std::int64_t last) {
    const auto most = static_cast<std::size_t>(last - first);
    const Workspace<const float*> rows(most * static_cast<std::size_t>(s.taps()));
    const Workspace<float*> out(most);
    for (const Phase& phase : phases) {
      const auto taps = static_cast<std::int64_t>(phase.tap_offset.size());
      for (std::int64_t g = 0; g < s.groups; ++g) {
        std::int64_t count = 0;
        Cursor at(first, grid_h, grid_w);
        for (std::int64_t i = first; i < last; ++i, at.next()) {
          const std::int64_t h = at.y * s.stride_h + phase.y, v = at.x * s.stride_w + phase.x;
          if (h < s.height && v < s.width)
            out[std::size_t(count++)] = x.at((at.image * s.height + h) * s.width + v) + g * columns;
        }
        for (std::int64_t t = 0; t < taps; ++t) {
          const float** to = rows.data() + t * count;
          Cursor cell(first, grid_h, grid_w);
          for (std::int64_t i = first; i < last; ++i, cell.next()) {
            if (cell.y * s.stride_h + phase.y >= s.height ||
                cell.x * s.stride_w + phase.x >= s.width)
              continue;
            const std::int64_t h = cell.y + phase.shift_y[std::size_t(t)];
            const std::int64_t v = cell.x + phase.shift_x[std::size_t(t)];
            *to++ = inside(h, s.out_height) && inside(v, s.out_width)
                        ? y.at((cell.image * s.out_height + h) * s.out_width + v) + g * depth
                        : zeros.data();
          }
        }
        kernels.gather_product({count, taps, depth, columns, rows.data(),
                                panels.data() + g * group_floats + phase.panel, out.data(),
                                bias ? bias + g * columns : nullptr, nullptr, false});
      }
    }
  });
}

namespace {

// dy of pixels [first, first + count), channels [channel, channel + columns), gated, padded with
// zeros to `width` columns. Adds the columns' sums to `sums` when not null.
void copy_gradient(Pixels dy, Pixels gate, std::int64_t channel, std::int64_t columns,
                   std::int64_t first, std::int64_t count, std::int64_t width, float* to,
                   std::int64_t row, float* sums) {
  for (std::int64_t i = 0; i < count; ++i, to += row) {
    const float* from = dy.at(first + i) + channel;
    if (gate.data) {
      const float* g = gate.at(first + i) + channel;
      for (std::int64_t k = 0; k < columns; ++k) to[k] = lanes::relu_gradient(g[k], from[k]);
    } else {
      for (std::int64_t k = 0; k < columns; ++k) to[k] = from[k];
    }
    for (std::int64_t k = columns; k < width; ++k) to[k] = 0.0f;
    if (sums)
      for (std::int64_t k = 0; k < columns; ++k) sums[k] += to[k];
  }
}

// x under one tap for the output pixels [first, first + count), padded with zeros to `width`
// columns.
void copy_tap(const ConvShape& s, Pixels x, std::int64_t channel, std::int64_t tap,
              std::int64_t first, std::int64_t count, std::int64_t width, float* to,
              std::int64_t row) {
  const std::int64_t columns = s.group_in();
  const std::int64_t dy = tap / s.kernel_w * s.dilation_h - s.pad_h;
  const std::int64_t dx = tap % s.kernel_w * s.dilation_w - s.pad_w;
  Cursor at(first, s.out_height, s.out_width);
  for (std::int64_t i = 0; i < count; ++i, at.next(), to += row) {
    const std::int64_t h = at.y * s.stride_h + dy, w = at.x * s.stride_w + dx;
    std::int64_t c = 0;
    if (inside(h, s.height) && inside(w, s.width)) {
      const float* from = x.at((at.image * s.height + h) * s.width + w) + channel;
      for (; c < columns; ++c) to[c] = from[c];
    }
    for (; c < width; ++c) to[c] = 0.0f;
  }
}

struct FilterSums {
  const ConvShape& s;
  Pixels x, dy, gate;
  std::int64_t group;
  float* dw;  // of the group
  std::int64_t depth() const { return s.group_in(); }
  std::int64_t outputs() const { return s.group_out(); }

  // Few channels per tap: S[tap and channel][k] from rows of all taps, then turned into dw.
  void short_depth(std::int64_t parts, std::int64_t per_part, float* bias_sums) const {
    const Kernels& kernels = kernels_for(outputs());
    const std::int64_t vectors = vectors_for(outputs(), kernels.width);
    const std::int64_t reduction = s.taps() * depth(), s_row = vectors * kernels.width;
    const std::int64_t a_row = padded_row(reduction), b_row = padded_row(s_row);
    const std::int64_t part_floats = reduction * s_row;
    const Workspace<float> sums(static_cast<std::size_t>(parts * part_floats));
    parallel_for(0, s.out_pixels(), per_part, [&](std::int64_t from, std::int64_t to) {
      const Workspace<float> a(static_cast<std::size_t>(kBlock * a_row));
      const Workspace<float> b(static_cast<std::size_t>(kBlock * b_row));
      const std::int64_t part = from / per_part;
      for (std::int64_t p = from; p < to; p += kBlock) {
        const std::int64_t count = std::min(kBlock, to - p);
        gather_matrix(s, x, group * depth(), p, count, a.data(), a_row);
        copy_gradient(dy, gate, group * outputs(), outputs(), p, count, s_row, b.data(), b_row,
                      bias_sums ? bias_sums + part * s.out_channels + group * outputs() : nullptr);
        kernels.outer_product(count, reduction, a.data(), a_row, vectors, b.data(), b_row,
                              sums.data() + part * part_floats, s_row, p > from);
      }
    });
    for (std::int64_t k = 0; k < outputs(); ++k) {
      for (std::int64_t i = 0; i < reduction; ++i) {
        float total = 0;
        for (std::int64_t part = 0; part < parts; ++part)
          total += sums[std::size_t(part * part_floats + i * s_row + k)];
        dw[k * reduction + i] = total;
      }
    }
  }

  // Adds the pixels [from, to) to S[tap][k][c] for taps [first_tap, last_tap) and outputs
  // [first_k, last_k).
  void accumulate(const Kernels& kernels, std::int64_t from, std::int64_t to,
                  std::int64_t first_tap, std::int64_t last_tap, std::int64_t first_k,
                  std::int64_t last_k, float* sums, float* bias_sums) const {
    const std::int64_t vectors = vectors_for(depth(), kernels.width);
    const std::int64_t s_row = vectors * kernels.width, columns = last_k - first_k;
    const std::int64_t a_row = padded_row(columns), b_row = padded_row(s_row);
    const Workspace<float> a(static_cast<std::size_t>(kBlock * a_row));
    const Workspace<float> b(static_cast<std::size_t>(kBlock * b_row));
    for (std::int64_t p = from; p < to; p += kBlock) {
      const std::int64_t count = std::min(kBlock, to - p);
      copy_gradient(dy, gate, group * outputs() + first_k, columns, p, count, columns, a.data(),
                    a_row, bias_sums);
      for (std::int64_t tap = first_tap; tap < last_tap; ++tap) {
        copy_tap(s, x, group * depth(), tap, p, count, s_row, b.data(), b_row);
        kernels.outer_product(count, columns, a.data(), a_row, vectors, b.data(), b_row,
                              sums + (tap - first_tap) * columns * s_row, s_row, p > from);
      }
    }
  }

  // Small filters: pixels are dealt to parts with sums of their own, added in order.
  void by_pixels(std::int64_t parts, std::int64_t per_part, float* bias_sums) const {
    const Kernels& kernels = kernels_for(depth());
    const std::int64_t s_row = vectors_for(depth(), kernels.width) * kernels.width;
    const std::int64_t part_floats = s.taps() * outputs() * s_row;
    const Workspace<float> sums(static_cast<std::size_t>(parts * part_floats));
    parallel_for(0, s.out_pixels(), per_part, [&](std::int64_t from, std::int64_t to) {
      const std::int64_t part = from / per_part;
      accumulate(kernels, from, to, 0, s.taps(), 0, outputs(), sums.data() + part * part_floats,
                 bias_sums ? bias_sums + part * s.out_channels + group * outputs() : nullptr);
    });
    parallel_for(0, outputs(), 8, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t k = first; k < last; ++k) {
        for (std::int64_t tap = 0; tap < s.taps(); ++tap) {
          float* to = dw + (k * s.taps() + tap) * depth();
          const float* from = sums.data() + (tap * outputs() + k) * s_row;
          for (std::int64_t c = 0; c < depth(); ++c) to[c] = from[c];
          for (std::int64_t part = 1; part < parts; ++part)
            for (std::int64_t c = 0; c < depth(); ++c) to[c] += from[part * part_floats + c];
        }
      }
    });
  }

  // Large filters: each task owns one tap and a few outputs, and sees all pixels.
  void by_outputs(std::int64_t per_task, float* bias_sums) const {
    const Kernels& kernels = kernels_for(depth());
    const std::int64_t s_row = vectors_for(depth(), kernels.width) * kernels.width;
    const std::int64_t blocks = (outputs() + per_task - 1) / per_task;
    parallel_for(0, blocks * s.taps(), 1, [&](std::int64_t task, std::int64_t) {
      const std::int64_t tap = task / blocks, first = task % blocks * per_task;
      const std::int64_t last = std::min(outputs(), first + per_task);
      const Workspace<float> sums(static_cast<std::size_t>((last - first) * s_row));
      accumulate(kernels, 0, s.out_pixels(), tap, tap + 1, first, last, sums.data(),
                 bias_sums && tap == 0 ? bias_sums + group * outputs() + first : nullptr);
      for (std::int64_t k = first; k < last; ++k)
        std::copy_n(sums.data() + (k - first) * s_row, depth(),
                    dw + (k * s.taps() + tap) * depth());
    });
  }
};

}  // namespace

void conv_filter_gradient(const ConvShape& s, Pixels x, Pixels dy, Pixels gate, float* dw,
                          float* dbias) {
  // Parts depend on the problem only; 16 MB of sums at most.
  const std::int64_t filter_floats = s.group_out() * s.taps() * s.group_in();
  const std::int64_t parts_wanted =
      std::clamp<std::int64_t>(std::min(4 * 1024 * 1024 / std::max<std::int64_t>(filter_floats, 1),
                                        s.out_pixels() / (2 * kBlock)),
                               1, 16);
  const std::int64_t per_part =
      ((s.out_pixels() + parts_wanted - 1) / parts_wanted + kBlock - 1) / kBlock * kBlock;
  const std::int64_t parts = (s.out_pixels() + per_part - 1) / per_part;
  const ZeroFloats bias_sums(dbias ? parts * s.out_channels : 0);
  float* const bias_data = dbias ? bias_sums.data() : nullptr;
  // Outputs per task when the filter is large: enough of them to pay for copying x again.
  constexpr std::int64_t kOutputsPerTask = 64;
  const std::int64_t tasks = s.taps() * ((s.group_out() + kOutputsPerTask - 1) / kOutputsPerTask);
  for (std::int64_t g = 0; g < s.groups; ++g) {
    const FilterSums sums{s, x, dy, gate, g, dw + g * filter_floats};
    if (s.group_in() < kShortDepth)
      sums.short_depth(parts, per_part, bias_data);
    else if (parts >= 4 || tasks <= parts)
      sums.by_pixels(parts, per_part, bias_data);
    else
      sums.by_outputs(kOutputsPerTask, bias_data);
  }
  if (!dbias) return;
  for (std::int64_t k = 0; k < s.out_channels; ++k) {
    double total = 0;
    for (std::int64_t part = 0; part < parts; ++part)
      total += static_cast<double>(bias_sums[std::size_t(part * s.out_channels + k)]);
    dbias[k] = static_cast<float>(total);
  }
}

void channel_sums(std::int64_t pixels, std::int64_t channels, Pixels map, float* sums) {
  constexpr std::int64_t kPixels = 4096;
  const std::int64_t parts = (pixels + kPixels - 1) / kPixels;
  const ZeroFloats partial(parts * channels);
  parallel_for(0, pixels, kPixels, [&](std::int64_t first, std::int64_t last) {
    float* const to = partial.data() + first / kPixels * channels;
    for (std::int64_t p = first; p < last; ++p) {
      const float* const from = map.at(p);
      for (std::int64_t c = 0; c < channels; ++c) to[c] += from[c];
    }
  });
  for (std::int64_t c = 0; c < channels; ++c) {
    double total = 0;
    for (std::int64_t part = 0; part < parts; ++part)
      total += static_cast<double>(partial[std::size_t(part * channels + c)]);
    sums[c] = static_cast<float>(total);
  }
}

}  // namespace thorax::gemm
