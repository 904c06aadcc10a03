// The walk of strided.h as a kernel's argument: a thread finds its place in every tensor by
// divisions that are multiplications (elementwise.cuh).
#pragma once

#include <algorithm>
#include <array>

#include "kernels/common/elementwise.cuh"
#include "kernels/common/strided.h"
#include "kernels/common/vec.cuh"

namespace thorax {
namespace THORAX_GPU {

// In groups of `width` consecutive elements along the last axis.
template <std::size_t kTensors>
struct DeviceWalk {
  std::int64_t count;  // groups
  int rank;
  Division extents[Shape::kMaxRank];
  std::int64_t steps[Shape::kMaxRank][kTensors] = {};

  DeviceWalk(const StridedWalk<kTensors>& walk, int width)
      : count(walk.count() / width),
        rank(walk.rank()),
        extents{division(walk, 0, width), division(walk, 1, width), division(walk, 2, width),
                division(walk, 3, width), division(walk, 4, width)} {
    for (int axis = 0; axis < rank; ++axis)
      for (std::size_t k = 0; k < kTensors; ++k)
        steps[axis][k] =
            walk.steps(axis)[k] * (axis == rank - 1 ? static_cast<std::int64_t>(width) : 1);
  }
  __device__ void place(std::int64_t group, std::int64_t (&at)[kTensors]) const {
    for (std::size_t k = 0; k < kTensors; ++k) at[k] = 0;
    for (int axis = rank - 1; axis >= 0; --axis) {
      std::int64_t position = group;
      if (axis > 0) group = extents[axis].divide(group, position);
      for (std::size_t k = 0; k < kTensors; ++k) at[k] += position * steps[axis][k];
    }
  }

 private:
  Division division(const StridedWalk<kTensors>& walk, int axis, int width) const {
    if (axis >= walk.rank()) return {1, count};
    return {walk.extent(axis) / (axis == walk.rank() - 1 ? width : 1), count};
  }
};

// Whether groups of `width` elements along the last axis are consecutive and aligned in every
// tensor, or the same element all along.
template <std::size_t kTensors>
bool walk_groups_fit(int width, const StridedWalk<kTensors>& walk,
                     const std::array<const Tensor*, kTensors>& tensors) {
  const int inner = walk.rank() - 1;
  if (walk.extent(inner) % width != 0) return false;
  for (std::size_t k = 0; k < kTensors; ++k) {
    const std::int64_t step = walk.steps(inner)[k];
    if (step == 0) continue;
    if (step != 1) return false;
    const std::size_t bytes = static_cast<std::size_t>(width) * size_of(tensors[k]->dtype());
    if (reinterpret_cast<std::uintptr_t>(tensors[k]->raw()) % bytes != 0) return false;
    for (int axis = 0; axis < inner; ++axis)
      if (walk.steps(axis)[k] % width != 0) return false;
  }
  return true;
}

// Calls fn(std::integral_constant<int, N>) with the widest group of T: 16 bytes, else 1 element.
template <class T, std::size_t kTensors, class Fn>
void with_walk_width(const StridedWalk<kTensors>& walk,
                     const std::array<const Tensor*, kTensors>& tensors, const Fn& fn) {
  constexpr int kWide = 16 / static_cast<int>(sizeof(T));
  if (walk_groups_fit(kWide, walk, tensors)) return fn(std::integral_constant<int, kWide>{});
  fn(std::integral_constant<int, 1>{});
}

// A group of N elements, or one element N times.
template <int N, class T>
__device__ inline Floats<N> load_or_repeat(const T* from, bool repeated) {
  return repeated ? broadcast<N>(to_float(*from)) : load<N>(from);
}

}  // namespace THORAX_GPU
}  // namespace thorax
