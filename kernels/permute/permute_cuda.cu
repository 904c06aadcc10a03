// Contiguous matrices that change their two axes go through the tile in shared memory that tensors
// have already (engine/tensor); any other order is written along memory and read where it lies.
#include "engine/tensor/tensor_kernels.h"
#include "kernels/common/strided.cuh"
#include "kernels/permute/permute.h"
#include "kernels/permute/permute_walk.h"

namespace thorax {
namespace THORAX_GPU {
namespace {

template <class T>
__global__ void permute_copy(DeviceWalk<2> walk, const T* x, T* y) {
  const std::int64_t i = thread_index();
  if (i >= walk.count) return;
  std::int64_t at[2];
  walk.place(i, at);
  y[at[1]] = x[at[0]];
}

void forward(const PermuteProblem& p, const Tensor& x, const Tensor& y) {
  if (y.numel() == 0) return;
  const auto walk = permute_walk(p, x, y);
  const int rank = walk.rank();
  if (x.contiguous() && y.contiguous() && rank >= 2 && rank <= 3) {
    // y[n][c][r] = x[n][r][c]: c is the axis before the last one of y, r the last.
    const std::int64_t columns = walk.extent(rank - 2), rows = walk.extent(rank - 1);
    const std::int64_t images = rank == 3 ? walk.extent(0) : 1;
    const bool matrices = walk.steps(rank - 2)[0] == 1 && walk.steps(rank - 1)[0] == columns &&
                          (rank == 2 || walk.steps(0)[0] == rows * columns);
    if (matrices && images <= 65535)
      return tensor_kernels(THORAX_GPU_KIND).permute(x, y, images, rows, columns);
  }
  dispatch_activation(p.dtype, [&](auto tag) {
    using T = decltype(tag);
    const DeviceWalk<2> places(walk, 1);
    launch(THORAX_KERNEL(permute_copy<T>), y.device(), one_thread_each(places.count), places,
           x.device_data<T>(), y.device_data<T>());
  });
}

}  // namespace

THORAX_PROVIDER(permute_cuda, permute_providers(),
                {.name = "cuda",
                 .device = THORAX_GPU_KIND,
                 .priority =
                     [](const PermuteProblem& p) { return is_activation_type(p.dtype) ? 10 : -1; },
                 .forward = forward});

}  // namespace THORAX_GPU
}  // namespace thorax
