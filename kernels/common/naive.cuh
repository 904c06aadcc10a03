// What first rungs share: one thread per element of the result, any floating-point type, sums in
// float32 for tensors of 16 bits.
#pragma once

#include <type_traits>

#include "engine/runtime/launch.cuh"
#include "engine/tensor/half.h"
#include "engine/tensor/tensor.h"

namespace thorax {
namespace THORAX_GPU {
namespace {

constexpr int kThreads = 256;
using Index = std::int64_t;

// Of sums, bias, and the gradients of parameters beside tensors of type T.
template <class T>
using SumOf = std::conditional_t<sizeof(T) == 2, float, T>;

template <class T>
__device__ SumOf<T> value(T element) {
  return convert<SumOf<T>>(element);
}

// The element of the result that this thread makes.
__device__ Index thread_index() {
  return static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x;
}
LaunchConfig one_thread_each(Index count) {
  return {dim3(blocks_for(count, kThreads)), dim3(kThreads)};
}

// bfloat16 from sm_80 on: before, no convolution on tensor cores takes it, and a network that meets
// a type it cannot have should say so at its first layer, not crawl.
[[maybe_unused]] bool naive_runs(DType dtype) {
  if (dtype == DType::bf16)
    return device_info(current_device(THORAX_GPU_KIND)).compute_capability >= 80;
  return dtype == DType::f32 || dtype == DType::f64 || dtype == DType::f16;
}

// Calls fn(T{}) with the element type of a `dtype` that naive_runs.
template <class Fn>
void dispatch_naive(DType dtype, const Fn& fn) {
  switch (dtype) {
    case DType::f64:
      return fn(double{});
    case DType::f16:
      return fn(Half{});
    case DType::bf16:
      return fn(BFloat16{});
    default:
      fn(float{});
  }
}

}  // namespace
}  // namespace THORAX_GPU
}  // namespace thorax
