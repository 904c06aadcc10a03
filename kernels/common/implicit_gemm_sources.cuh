// Convolution, its adjoint and its filter gradient on a GPU as products of gemm_tile.cuh whose
// convolved matrix is never built: a thread that has to bring element (m, l) of a slab works out
// which pixel and which filter tap that is, and reads the image there, or takes zero outside.
//
//                    rows m           columns n      depth l          left            right
//   forward          output pixel     k              (r, s, c)        x at a tap      w[k][r,s,c]
//   adjoint          pixel of x       c              (r, s, k)        dy at a tap     w[k][r,s][c]
//   filter gradient  k                (r, s, c)      output pixel     dy              x at a tap
//
// Adjoint (the data gradient, and the forward pass of a transposed convolution): with a stride, a
// pixel of x meets only those taps whose offset has the pixel's remainder. Pixels are sorted by
// remainder, stride_h * stride_w classes, each a product of its own with its own taps (blockIdx.z):
// nothing is multiplied by a zero that stands between the pixels of dy.
//
// Indices of pixels, taps and channels have 32 bits, addresses 64 (gpu_gemm.cuh: `supported`).
#pragma once

#include "kernels/common/gemm_tile.cuh"

namespace thorax {
namespace THORAX_GPU {
namespace {

constexpr int kOutside = -(1 << 29);  // a row or column that no tap brings into the image

// Left matrix of forward and adjoint: row m is the patch of source pixels around one result pixel.
// Result (n, i, j) with tap (r, s) reads source (n, i * step_h + start_h + r * tap_h, likewise w).
template <int V>
struct GatherRows {
  Pixels source;
  int height, width, channels;
  int rows, rows_h, rows_w;
  int step_h, step_w, start_h, start_w, taps_h, taps_w, tap_h, tap_w;

  template <int Extent, int Depth, int Threads>
  struct Cursor : DepthPanel<Extent, Depth, Threads> {
    using Panel = DepthPanel<Extent, Depth, Threads>;
    int pixel[Panel::kPasses], h[Panel::kPasses], w[Panel::kPasses];  // of tap (0, 0)
    int r, s, c;                                                      // at the thread's depth

    __device__ Cursor(const GatherRows& g, int thread, int first_row, int begin) {
#pragma unroll
      for (int i = 0; i < Panel::kPasses; ++i) {
        const int local = Panel::row_of(thread, i), row = first_row + local;
        const int j = row % g.rows_w, rest = row / g.rows_w;
        const int n = rest / g.rows_h;
        h[i] = rest % g.rows_h * g.step_h + g.start_h;
        w[i] = j * g.step_w + g.start_w;
        pixel[i] = (n * g.height + h[i]) * g.width + w[i];
        if (row >= g.rows || local >= Extent) h[i] = kOutside;
      }
      const int l = begin + Panel::depth_of(thread), tap = l / g.channels;
      c = l % g.channels;
      s = tap % g.taps_w;
      r = tap / g.taps_w;
    }
    __device__ static void advance(const GatherRows& g, int by, int& r, int& s, int& c) {
      c += by;
      while (c >= g.channels) {
        c -= g.channels;
        if (++s == g.taps_w) {
          s = 0;
          ++r;
        }
      }
    }
    __device__ void fetch(const GatherRows& g) {
      int at_r = r, at_s = s, at_c = c;
#pragma unroll
      for (int j = 0; j < 4; j += V) {
        const int dh = at_r * g.tap_h, dw = at_s * g.tap_w, offset = dh * g.width + dw;
#pragma unroll
        for (int i = 0; i < Panel::kPasses; ++i) {
          const bool inside = static_cast<unsigned>(h[i] + dh) < static_cast<unsigned>(g.height) &&
                              static_cast<unsigned>(w[i] + dw) < static_cast<unsigned>(g.width) &&
                              at_r < g.taps_h;
          float* to = &this->values[i][j];
          if (inside) {
            g.source.template load<V>(pixel[i] + offset, at_c, to);
          } else {
#pragma unroll
            for (int v = 0; v < V; ++v) to[v] = 0;
          }
        }
        if (j + V < 4) advance(g, V, at_r, at_s, at_c);
      }
      advance(g, Depth, r, s, c);
    }
  };
};

// Right matrix of the adjoint: element (l = (r, s, k), n = c) is w[k][first_h + r *
// next_h][...][c], the taps of one class of pixels.
template <int V>
struct FilterColumns {
  const float* filter;
  int kernel_h, kernel_w, outputs, extent;
  int taps_h, taps_w, first_h, first_w, next_h, next_w;

  template <int Extent, int Depth, int Threads>
  struct Cursor : ExtentPanel<Extent, Depth, Threads> {
    using Panel = ExtentPanel<Extent, Depth, Threads>;
    int column, r[Panel::kPasses], s[Panel::kPasses], k[Panel::kPasses];

    __device__ Cursor(const FilterColumns& f, int thread, int first_column, int begin)
        : column(first_column + Panel::column_of(thread)) {
#pragma unroll
      for (int i = 0; i < Panel::kPasses; ++i) {
        const int l = begin + Panel::depth_of(thread, i), tap = l / f.outputs;
        k[i] = l % f.outputs;
        s[i] = tap % f.taps_w;
        r[i] = tap / f.taps_w;
      }
    }
    __device__ void fetch(const FilterColumns& f) {
#pragma unroll
      for (int i = 0; i < Panel::kPasses; ++i) {
        const int row = (k[i] * f.kernel_h + f.first_h + r[i] * f.next_h) * f.kernel_w + f.first_w +
                        s[i] * f.next_w;
        const float* from = f.filter + static_cast<std::int64_t>(row) * f.extent + column;
#pragma unroll
        for (int j = 0; j < 4; j += V) {
          float* to = &this->values[i][j];
          if (r[i] < f.taps_h && column + j < f.extent) {
            load_global<V>(from + j, to);
          } else {
#pragma unroll
            for (int v = 0; v < V; ++v) to[v] = 0;
          }
        }
        k[i] += Depth;
        while (k[i] >= f.outputs) {
          k[i] -= f.outputs;
          if (++s[i] == f.taps_w) {
            s[i] = 0;
            ++r[i];
          }
        }
      }
    }
  };
};

// Right matrix of the filter gradient: element (l = output pixel, n = (r, s, c)) is x at that tap.
template <int V>
struct GatherColumns {
  Pixels source;
  int height, width, channels;
  int batch, out_height, out_width;
  int extent, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;

  template <int Extent, int Depth, int Threads>
  struct Cursor : ExtentPanel<Extent, Depth, Threads> {
    using Panel = ExtentPanel<Extent, Depth, Threads>;
    int dh[4 / V], dw[4 / V], c[4 / V];  // of the columns
    int n[Panel::kPasses], p[Panel::kPasses], q[Panel::kPasses];

    __device__ Cursor(const GatherColumns& g, int thread, int first_column, int begin) {
#pragma unroll
      for (int j = 0; j < 4 / V; ++j) {
        const int column = first_column + Panel::column_of(thread) + j * V;
        const int tap = column / g.channels;
        c[j] = column % g.channels;
        dh[j] = column < g.extent ? tap / g.kernel_w * g.dilation_h - g.pad_h : kOutside;
        dw[j] = tap % g.kernel_w * g.dilation_w - g.pad_w;
      }
#pragma unroll
      for (int i = 0; i < Panel::kPasses; ++i) {
        const int l = begin + Panel::depth_of(thread, i), rest = l / g.out_width;
        q[i] = l % g.out_width;
        p[i] = rest % g.out_height;
        n[i] = rest / g.out_height;
      }
    }
    __device__ void fetch(const GatherColumns& g) {
#pragma unroll
      for (int i = 0; i < Panel::kPasses; ++i) {
#pragma unroll
        for (int j = 0; j < 4 / V; ++j) {
          const int h = p[i] * g.stride_h + dh[j], w = q[i] * g.stride_w + dw[j];
          float* to = &this->values[i][j * V];
          if (n[i] < g.batch && static_cast<unsigned>(h) < static_cast<unsigned>(g.height) &&
              static_cast<unsigned>(w) < static_cast<unsigned>(g.width)) {
            g.source.template load<V>((n[i] * g.height + h) * g.width + w, c[j], to);
          } else {
#pragma unroll
            for (int v = 0; v < V; ++v) to[v] = 0;
          }
        }
        q[i] += Depth;
        while (q[i] >= g.out_width) {
          q[i] -= g.out_width;
          if (++p[i] == g.out_height) {
            p[i] = 0;
            ++n[i];
          }
        }
      }
    }
  };
};

// All classes of an adjoint. The taps of remainder class a along one axis are first, first + next,
// ...; pixel a + i * stride with the t-th of them reads dy at i + start - t * step.
struct AdjointAxis {
  int extent, stride, pad, dilation, kernel, next, step;

  struct Class {
    int pixels, first, taps, start;
  };
  __device__ Class select(int a) const {
    int first = 0;
    while (first < next && (a + pad - first * dilation) % stride != 0) ++first;
    const int taps = first < next && first < kernel ? (kernel - first + next - 1) / next : 0;
    return {(extent - a + stride - 1) / stride, first, taps, (a + pad - first * dilation) / stride};
  }
};
template <int V>
struct Adjoint {
  using One = Product<GatherRows<V>, FilterColumns<V>>;
  One product;  // what the classes have in common
  AdjointAxis vertical, horizontal;
  int batch;
  // As in Product; the depth is that of the deepest class.
  int columns, depth, part;
  std::int64_t part_elements;
  Epilogue result;

  __device__ One select(int z, int index, int* begin, int* end) const {
    One p = product;
    const int a = z / horizontal.stride, b = z % horizontal.stride;
    const AdjointAxis::Class h = vertical.select(a), w = horizontal.select(b);
    p.left.rows_h = p.rows_at.rows_h = h.pixels;
    p.left.rows_w = p.rows_at.rows_w = w.pixels;
    p.left.rows = p.rows = batch * h.pixels * w.pixels;
    p.left.start_h = h.start, p.left.start_w = w.start;
    p.left.taps_h = p.right.taps_h = h.taps;
    p.left.taps_w = p.right.taps_w = w.taps;
    p.right.first_h = h.first, p.right.first_w = w.first;
    p.rows_at.start_h = a, p.rows_at.start_w = b;
    p.depth = h.taps * w.taps * p.right.outputs;
    p.result = result;
    p.part = part;
    p.part_elements = part_elements;
    p.select_part(index, begin, end);
    return p;
  }
};

}  // namespace
}  // namespace THORAX_GPU
}  // namespace thorax
