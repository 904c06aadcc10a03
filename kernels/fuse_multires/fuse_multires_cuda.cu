// The fused sum of resolutions, one kernel a direction.
//   forward   one thread per output pixel and group of channels (16 bytes where shapes and slices
//             allow) adds its 2 to 4 branches; the pixels that share a coarse one meet in the
//             caches.
//   backward  one block per tile of pixels that no coarse pixel crosses (8 x 8 for HRNet's factors)
//             and up to 16 groups of channels. It reads dy and y once, writes the masked gradient
//             and keeps it in shared memory, from which one thread per coarse pixel and group, of
//             all branches side by side, adds up its square in row order.
#include <numeric>

#include "kernels/common/elementwise.cuh"
#include "kernels/common/vec.cuh"
#include "kernels/fuse_multires/fuse_multires.h"

namespace thorax {
namespace THORAX_GPU {
namespace {

constexpr int kMaxBranches = FuseProblem::kMaxBranches;
constexpr std::int64_t kTile = 8;          // least height and width of a backward tile
constexpr std::int64_t kMaxWideTile = 32;  // of 8 floats a pixel: 32 KiB of shared memory
constexpr std::int64_t kMaxTile = 64;      // of one float a pixel
constexpr std::int64_t kMaxGroups = 16;    // per tile
constexpr std::size_t kSharedBytes = 32 * 1024;

// One branch at its own size.
template <class T>
struct Branch {
  Pixels<T> pixels;
  std::int64_t height, width;
  Division factor;
};
template <class T>
struct Branches {
  Branch<T> at[kMaxBranches];
};

template <class T, int kBranches, int N>
__global__ void fuse_forward(ImageGroups grid, std::int64_t height, std::int64_t width, bool relu,
                             Branches<const T> branches, Pixels<T> y) {
  const std::int64_t i = thread_index();
  if (i >= grid.count()) return;
  const ImagePlace at = grid.place(i);
  Floats<N> sum;
#pragma unroll
  for (int b = 0; b < kBranches; ++b) {
    const Branch<const T>& branch = branches.at[b];
    const std::int64_t pixel =
        (at.image * branch.height + branch.factor.quotient(at.row)) * branch.width +
        branch.factor.quotient(at.column);
    const Floats<N> v = load<N>(branch.pixels.at(pixel, at.group * N));
#pragma unroll
    for (int k = 0; k < N; ++k) sum[k] = b == 0 ? v[k] : sum[k] + v[k];
  }
  if (relu) {
    // A NaN is not below zero: it stays.
#pragma unroll
    for (int k = 0; k < N; ++k) sum[k] = sum[k] <= 0 ? 0.0f : sum[k];
  }
  store(y.at((at.image * height + at.row) * width + at.column, at.group * N), sum);
}

// The coarse branches of a backward pass, wanted ones only.
template <class T>
struct Coarse {
  Pixels<T> pixels;
  int factor;
};
template <class T>
struct Backward {
  int height, width, groups;  // of dy
  int tile, tile_groups, branches;
  bool relu;
  Pixels<const T> dy, y;
  Pixels<T> dz;
  Coarse<T> coarse[kMaxBranches];
};

// blockIdx.x: tile column; .y: tile row of all images; .z: part of the channels. In shared memory:
// [pixel of the tile][group][N]
template <class T, int N>
__global__ void fuse_backward(Backward<T> b, Division tile_rows) {
  Floats<N>* tile = dynamic_shared<Floats<N>>();
  std::int64_t tile_row;
  const std::int64_t image = tile_rows.divide(blockIdx.y, tile_row);
  const int top = static_cast<int>(tile_row) * b.tile, left = static_cast<int>(blockIdx.x) * b.tile;
  const int first_group = static_cast<int>(blockIdx.z) * b.tile_groups;
  const int groups = min(b.tile_groups, b.groups - first_group);
  const int rows = min(b.tile, b.height - top), columns = min(b.tile, b.width - left);
  const int threads = static_cast<int>(blockDim.x);
  for (int i = static_cast<int>(threadIdx.x); i < rows * columns * groups; i += threads) {
    const int group = i % groups, pixel = i / groups, p = pixel / columns, q = pixel % columns;
    const std::int64_t at = (image * b.height + top + p) * b.width + left + q;
    const std::int64_t channel = static_cast<std::int64_t>(first_group + group) * N;
    Floats<N> g = load<N>(b.dy.at(at, channel));
    if (b.relu) {
      const Floats<N> result = load<N>(b.y.at(at, channel));
#pragma unroll
      for (int k = 0; k < N; ++k) g[k] = result[k] <= 0 ? 0.0f : g[k];
    }
    if (b.dz.data != nullptr) store(b.dz.at(at, channel), g);
    if (b.branches > 0) tile[(p * b.tile + q) * b.tile_groups + group] = g;
  }
  if (b.branches == 0) return;
  __syncthreads();
  int item = static_cast<int>(threadIdx.x);
  for (int branch = 0; branch < b.branches; ++branch) {
    const int f = b.coarse[branch].factor;
    const int coarse_columns = columns / f, items = rows / f * coarse_columns * groups;
    for (; item < items; item += threads) {
      const int group = item % groups, pixel = item / groups;
      const int h = pixel / coarse_columns, w = pixel % coarse_columns;
      Floats<N> sum = broadcast<N>(0);
      for (int p = h * f; p < (h + 1) * f; ++p) {
        for (int q = w * f; q < (w + 1) * f; ++q) {
          const Floats<N> g = tile[(p * b.tile + q) * b.tile_groups + group];
#pragma unroll
          for (int k = 0; k < N; ++k) sum[k] += g[k];
        }
      }
      const std::int64_t at = (image * (b.height / f) + top / f + h) * (b.width / f) + left / f + w;
      store(b.coarse[branch].pixels.at(at, static_cast<std::int64_t>(first_group + group) * N),
            sum);
    }
    item -= items;  // the next branch's items go to the threads that had none of this one's
  }
}

// Height and width of the squares that no coarse pixel crosses.
std::int64_t unit_of(const FuseProblem& pr) {
  std::int64_t unit = 1;
  for (int i = 0; i < pr.branches; ++i)
    unit = std::lcm(unit, pr.factors[static_cast<std::size_t>(i)]);
  return unit;
}

void forward(const FuseProblem& pr, std::span<const Tensor> branches, const Tensor& y) {
  if (y.numel() == 0) return;
  const auto branch = [&](std::size_t i) {
    return i < branches.size() ? &branches[i] : &branches[0];
  };
  dispatch_activation(pr.dtype, [&](auto tag) {
    using T = decltype(tag);
    with_width<T>(y.pixels(), pr.channels, {branch(0), branch(1), branch(2), branch(3), &y},
                  [&](auto group_width) {
                    constexpr int N = decltype(group_width)::value;
                    const ImageGroups grid(pr.batch, pr.height, pr.width, pr.channels, N);
                    const auto view = [&](std::size_t i) {
                      const std::int64_t factor = i < branches.size() ? pr.factors[i] : 1;
                      return Branch<const T>{Pixels<const T>(*branch(i)), branch(i)->size(1),
                                             branch(i)->size(2),
                                             Division(factor, std::max(pr.height, pr.width))};
                    };
                    const Branches<const T> all{{view(0), view(1), view(2), view(3)}};
                    const auto run = [&](auto kernel) {
                      launch(kernel, y.device(), one_thread_each(grid.count()), grid, pr.height,
                             pr.width, pr.relu, all, Pixels<T>(y));
                    };
                    if (pr.branches == 2)
                      run(THORAX_KERNEL(fuse_forward<T, 2, N>));
                    else if (pr.branches == 3)
                      run(THORAX_KERNEL(fuse_forward<T, 3, N>));
                    else
                      run(THORAX_KERNEL(fuse_forward<T, 4, N>));
                  });
  });
}

template <class T, int N>
void launch_backward(const FuseProblem& pr, std::int64_t tile, const Tensor& dy, const Tensor& mask,
                     const Tensor& dz, std::span<const Tensor> grads) {
  Backward<T> b{};
  b.height = static_cast<int>(pr.height);
  b.width = static_cast<int>(pr.width);
  b.groups = static_cast<int>(pr.channels / N);
  b.tile = static_cast<int>(tile);
  const std::size_t group_bytes = static_cast<std::size_t>(tile * tile) * sizeof(Floats<N>);
  b.tile_groups = static_cast<int>(
      std::clamp<std::int64_t>(static_cast<std::int64_t>(kSharedBytes / group_bytes), 1,
                               std::min<std::int64_t>(kMaxGroups, b.groups)));
  b.relu = pr.relu;
  b.dy = Pixels<const T>(dy);
  b.y = Pixels<const T>(mask);
  b.dz = Pixels<T>(dz);
  for (std::size_t i = 0; i < grads.size(); ++i)
    if (grads[i].defined())
      b.coarse[b.branches++] = {Pixels<T>(grads[i]), static_cast<int>(pr.factors[i])};
  const std::size_t shared =
      b.branches == 0 ? 0 : group_bytes * static_cast<std::size_t>(b.tile_groups);
  const std::int64_t tile_rows = (pr.height + tile - 1) / tile;
  launch(THORAX_KERNEL(fuse_backward<T, N>), dy.device(),
         {dim3(blocks_for(pr.width, tile), static_cast<unsigned>(pr.batch * tile_rows),
               blocks_for(b.groups, b.tile_groups)),
          dim3(kElementwiseThreads), shared},
         b, Division(tile_rows, pr.batch * tile_rows));
}

void backward(const FuseProblem& pr, const Tensor& dy, const Tensor& y, const Tensor& dz,
              std::span<const Tensor> grads) {
  if (dy.numel() == 0) return;
  const std::int64_t unit = unit_of(pr), tile = (kTile + unit - 1) / unit * unit;
  const Tensor none;
  const auto grad = [&](std::size_t i) { return i < grads.size() ? &grads[i] : &none; };
  const Tensor& mask = pr.relu ? y : none;
  dispatch_activation(pr.dtype, [&](auto tag) {
    using T = decltype(tag);
    if (tile > kMaxWideTile) return launch_backward<T, 1>(pr, tile, dy, mask, dz, grads);
    with_width<T>(dy.pixels(), pr.channels, {&dy, &mask, &dz, grad(0), grad(1), grad(2), grad(3)},
                  [&](auto width) {
                    launch_backward<T, decltype(width)::value>(pr, tile, dy, mask, dz, grads);
                  });
  });
}

int priority(const FuseProblem& p) {
  const bool fits = unit_of(p) <= kMaxTile && p.height < (1 << 30) && p.width < (1 << 30) &&
                    p.channels <= 65535 && p.batch * ((p.height + kTile - 1) / kTile) <= 65535;
  return is_activation_type(p.dtype) && fits ? 10 : -1;
}

}  // namespace

THORAX_PROVIDER(fuse_multires_cuda, fuse_providers(),
                {.name = "cuda",
                 .device = THORAX_GPU_KIND,
                 .priority = priority,
                 .forward = forward,
                 .backward = backward});

}  // namespace THORAX_GPU
}  // namespace thorax
