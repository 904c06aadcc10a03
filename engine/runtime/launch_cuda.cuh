// launch() for nvcc; included by launch.cuh only.
#pragma once

#include "engine/runtime/cuda_stream.h"
#include "engine/tensor/error.h"

namespace thorax {

namespace cuda_detail {
void check_launch(cudaError_t status, const char* kernel, dim3 grid, dim3 block,
                  std::size_t shared);
}  // namespace cuda_detail

template <class... P, class... A>
void launch(NamedKernel<P...> kernel, Device device, const LaunchConfig& config, A&&... arguments) {
  const auto& [grid, block, shared] = config;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  cudaStream_t stream = cuda_detail::compute_stream(device.index);
  if (shared > 48 * 1024)
    cuda_detail::check_launch(
        cudaFuncSetAttribute(kernel.function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(shared)),
        kernel.name, grid, block, shared);
  kernel.function<<<grid, block, shared, stream>>>(static_cast<P>(arguments)...);
  cuda_detail::check_launch(cudaGetLastError(), kernel.name, grid, block, shared);
}

namespace cuda_build {
// The block's dynamic shared memory as an array of T.
template <class T>
__device__ T* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char thorax_dynamic_shared[];
  return reinterpret_cast<T*>(thorax_dynamic_shared);
}
}  // namespace cuda_build

}  // namespace thorax

// THORAX_SHARED(Type, name): one object of a trivial Type in the block's shared memory,
// uninitialised.
#define THORAX_SHARED(Type, name)                                    \
  __shared__ __align__(16) unsigned char name##_bytes[sizeof(Type)]; \
  Type& name = *reinterpret_cast<Type*>(name##_bytes)
