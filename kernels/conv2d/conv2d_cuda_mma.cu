// Convolution on tensor cores, from Turing (sm_75) on: float16 tensors, float32 sums, the
// instruction mma.m16n8k8. Turing has no asynchronous copy: the next tiles wait in registers while
// the present ones are multiplied (kernels/common: mma_gather.cuh forward and data gradient,
// mma_filter.cuh filter gradient). Over the float32 tiles of the rung before, a warp instruction
// makes 1024 products instead of 32, and a tile in shared memory holds twice the depth.
#include "kernels/conv2d/conv2d_mma.cuh"

namespace thorax {
namespace THORAX_GPU {
namespace mma {

THORAX_PROVIDER(conv2d_mma, conv2d_providers(),
                {.name = "cuda/mma",
                 .device = THORAX_GPU_KIND,
                 .priority =
                     [](const Conv2dProblem& p) { return turing_priority(p.dtype, conv_shape(p)); },
                 .forward = forward<HalfTuring>,
                 .backward_data = backward_data<HalfTuring>,
                 .backward_filter = backward_filter<HalfTuring>})

}  // namespace mma
}  // namespace THORAX_GPU
}  // namespace thorax
