// Convolution on tensor cores, from Ampere (sm_80) on. Over cuda/mma:
//   - tiles go from global to shared memory by cp.async, without registers, three steps ahead of
//   the
//     one that is multiplied: more bytes in flight, and registers left for sums;
//   - one instruction has twice the depth (m16n8k16);
//   - bfloat16, and tf32 on float32 tensors.
// The kernels are those of kernels/common/mma_gather.cuh and mma_filter.cuh; mma_*.cu beside them
// compile them. tf32 gives up 13 bits of every factor: it is a provider of its own that supports a
// problem only when it was asked for by name (choose_provider), never by default.
#include "kernels/conv2d/conv2d_mma.cuh"

namespace thorax {
namespace THORAX_GPU {
namespace mma {
namespace {

constexpr const char* kTf32 = "cuda/mma_tf32";

int priority_tf32(const Conv2dProblem& p) {
  const bool asked = chosen_provider("conv2d") == kTf32;
  const bool runs = compute_capability() >= 80 && passes::fits(conv_shape(p));
  return asked && p.dtype == DType::f32 && runs ? 0 : -1;
}

}  // namespace

THORAX_PROVIDER(conv2d_mma_async, conv2d_providers(),
                {.name = "cuda/mma_async",
                 .device = THORAX_GPU_KIND,
                 .priority =
                     [](const Conv2dProblem& p) { return ampere_priority(p.dtype, conv_shape(p)); },
                 .forward =
                     [](const Conv2dProblem& p, auto&... t) {
                       p.dtype == DType::f16 ? forward<HalfAmpere>(p, t...)
                                             : forward<BFloat16Ampere>(p, t...);
                     },
                 .backward_data =
                     [](const Conv2dProblem& p, auto&... t) {
                       p.dtype == DType::f16 ? backward_data<HalfAmpere>(p, t...)
                                             : backward_data<BFloat16Ampere>(p, t...);
                     },
                 .backward_filter =
                     [](const Conv2dProblem& p, auto&... t) {
                       p.dtype == DType::f16 ? backward_filter<HalfAmpere>(p, t...)
                                             : backward_filter<BFloat16Ampere>(p, t...);
                     }});

THORAX_PROVIDER(conv2d_mma_tf32, conv2d_providers(),
                {.name = kTf32,
                 .device = THORAX_GPU_KIND,
                 .priority = priority_tf32,
                 .forward = forward<Tf32Ampere>,
                 .backward_data = backward_data<Tf32Ampere>,
                 .backward_filter = backward_filter<Tf32Ampere>});

}  // namespace mma
}  // namespace THORAX_GPU
}  // namespace thorax
