// Convolution on tensor cores, from Ampere (sm_80) on. Over cuda/mma:
//   - tiles go from global to shared memory by cp.async, without registers, three steps ahead of
//   the
//     one that is multiplied: more bytes in flight, and registers left for sums;
//   - one instruction has twice the depth (m16n8k16);
//   - bfloat16, and tf32 on float32 tensors.
// The kernels are those of mma_gather.cuh and mma_filter.cuh; conv2d_cuda_mma_async_*.cu compile
// them. tf32 gives up 13 bits of every factor: it is a provider of its own that supports a problem
// only when it was asked for by name (choose_provider), never by default.
#include "kernels/conv2d/mma_core.cuh"

namespace thorax {
namespace THORAX_GPU {
namespace mma {
namespace {

constexpr const char* kTf32 = "cuda/mma_tf32";

bool has_cp_async() {
  return device_info(current_device(THORAX_GPU_KIND)).compute_capability >= 80;
}

int priority(const Conv2dProblem& p) {
  const bool type = p.dtype == DType::f16 || p.dtype == DType::bf16;
  return type && has_cp_async() && passes::fits(p) ? 25 : -1;
}

int priority_tf32(const Conv2dProblem& p) {
  const bool asked = chosen_provider("conv2d") == kTf32;
  return asked && p.dtype == DType::f32 && has_cp_async() && passes::fits(p) ? 0 : -1;
}

}  // namespace

THORAX_PROVIDER(conv2d_mma_async, conv2d_providers(),
                {.name = "cuda/mma_async",
                 .device = THORAX_GPU_KIND,
                 .priority = priority,
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
