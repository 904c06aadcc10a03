// What every .cu file includes first. Each .cu file is compiled twice: by nvcc for GPUs (device
// kind `cuda`) and by g++ for the simulated device (kind `sim`). The rules that make this work:
//
//   - everything lives in namespace thorax::THORAX_GPU, kernels and helpers in an unnamed namespace
//     inside it (the two builds may be linked into one library);
//   - kernels are launched with launch(THORAX_KERNEL(name<args>), device, {grid, block}, args...);
//   - shared memory is declared with THORAX_SHARED or taken with dynamic_shared<T>();
//   - PTX is only written in kernels/common/ptx.cuh;
//   - no other runtime API: memory, copies and streams are the engine's.
#pragma once

#include <cstdint>
#include <type_traits>

#include "engine/runtime/device.h"

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#define THORAX_GPU cuda_build
#define THORAX_GPU_KIND ::thorax::DeviceKind::cuda
#else
#include "engine/runtime/sim/language.h"
#define THORAX_GPU sim_build
#define THORAX_GPU_KIND ::thorax::DeviceKind::sim
#endif

namespace thorax {

struct LaunchConfig {
  dim3 grid;
  dim3 block;
  std::size_t dynamic_shared = 0;  // bytes, on top of THORAX_SHARED
};

// A kernel and its name, for error messages. `symbol` and `file` say which one it is in PTX; nvcc's
// build needs neither.
template <class... P>
struct NamedKernel {
  void (*function)(P...);
  const char* name;
  const char* symbol = nullptr;
  const char* file = nullptr;
};
template <class... P>
NamedKernel<P...> named_kernel(void (*function)(P...), const char* name,
                               const char* symbol = nullptr, const char* file = nullptr) {
  return {function, name, symbol, file};
}

}  // namespace thorax

// THORAX_KERNEL(kernel<T>); with a text of its own for messages THORAX_NAMED_KERNEL(text,
// kernel<T>)
#define THORAX_KERNEL(...) THORAX_NAMED_KERNEL(#__VA_ARGS__, __VA_ARGS__)
#if defined(__CUDACC__)
#define THORAX_NAMED_KERNEL(text, ...) ::thorax::named_kernel(&__VA_ARGS__, text)
#else
#define THORAX_NAMED_KERNEL(text, ...)       \
  ::thorax::named_kernel(&__VA_ARGS__, text, \
                         typeid(::thorax::sim::KernelTag<&__VA_ARGS__>).name(), __BASE_FILE__)
#endif

#if defined(__CUDACC__)
#include "engine/runtime/launch_cuda.cuh"
#else
#include "engine/runtime/sim/launch.h"
#endif

namespace thorax {
namespace THORAX_GPU {

// Blocks of `per_block` that cover `count`.
constexpr unsigned blocks_for(std::int64_t count, std::int64_t per_block) {
  return static_cast<unsigned>((count + per_block - 1) / per_block);
}

}  // namespace THORAX_GPU
}  // namespace thorax
