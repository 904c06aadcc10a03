// Walking along the elements of several tensors at once where each may be broadcast, permuted or a
// channel slice: for every axis its extent and, of each tensor, the elements from one position to
// the next. Neighbouring axes that every tensor walks as one are merged, so that equal contiguous
// tensors become a single axis.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "engine/tensor/tensor.h"

namespace thorax {

// Elements between neighbours along each axis of a tensor.
inline std::array<std::int64_t, Shape::kMaxRank> element_strides(const Tensor& t) {
  std::array<std::int64_t, Shape::kMaxRank> strides{};
  std::int64_t stride = 1;
  for (int axis = t.rank() - 1; axis >= 0; --axis) {
    strides[static_cast<std::size_t>(axis)] = stride;
    stride = axis == t.rank() - 1 && axis > 0 ? t.pixel_stride() : stride * t.size(axis);
  }
  return strides;
}

template <std::size_t kTensors>
class StridedWalk {
 public:
  using Steps = std::array<std::int64_t, kTensors>;

  // Adds an axis inside those that are there; `steps`: the elements from one position to the next.
  void add_axis(std::int64_t extent, const Steps& steps) {
    if (extent == 1) return;
    bool merge = rank_ > 0;
    if (merge)
      for (std::size_t k = 0; k < kTensors; ++k)
        merge = merge && steps_[last()][k] == steps[k] * extent;
    if (!merge) ++rank_;
    extents_[last()] = merge ? extents_[last()] * extent : extent;
    steps_[last()] = steps;
  }

  // At least 1: a single position is an axis of extent 1.
  int rank() const { return std::max(rank_, 1); }
  std::int64_t extent(int axis) const {
    return rank_ == 0 ? 1 : extents_[static_cast<std::size_t>(axis)];
  }
  const Steps& steps(int axis) const { return steps_[static_cast<std::size_t>(axis)]; }
  std::int64_t count() const {
    std::int64_t product = 1;
    for (int axis = 0; axis < rank_; ++axis) product *= extent(axis);
    return product;
  }

  // Where position `index`, counted with the last axis fastest, lies in each tensor.
  Steps offsets(std::int64_t index) const {
    Steps at{};
    for (int axis = rank() - 1; axis >= 0; --axis) {
      const std::int64_t place = axis == 0 ? index : index % extent(axis);
      if (axis > 0) index /= extent(axis);
      for (std::size_t k = 0; k < kTensors; ++k) at[k] += place * steps(axis)[k];
    }
    return at;
  }
  // Calls run(offsets, index, length) for pieces along the last axis that cover the positions
  // [first, last) in order.
  template <class Run>
  void for_runs(std::int64_t first, std::int64_t last, const Run& run) const {
    const std::int64_t inner = extent(rank() - 1);
    for (std::int64_t i = first; i < last;) {
      const std::int64_t length = std::min(inner - i % inner, last - i);
      run(offsets(i), i, length);
      i += length;
    }
  }

 private:
  std::size_t last() const { return static_cast<std::size_t>(rank_ - 1); }

  int rank_ = 0;
  std::array<std::int64_t, Shape::kMaxRank> extents_{};
  std::array<Steps, Shape::kMaxRank> steps_{};
};

// The walk along all elements of `shape`, to which the tensors are broadcast: axes are matched from
// the last on, an axis that is missing or of extent 1 is repeated.
template <std::size_t kTensors>
StridedWalk<kTensors> broadcast_walk(const Shape& shape,
                                     const std::array<const Tensor*, kTensors>& tensors) {
  StridedWalk<kTensors> walk;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    typename StridedWalk<kTensors>::Steps steps{};
    for (std::size_t k = 0; k < kTensors; ++k) {
      const int own = axis - (shape.rank() - tensors[k]->rank());
      if (own >= 0 && tensors[k]->size(own) != 1)
        steps[k] = element_strides(*tensors[k])[static_cast<std::size_t>(own)];
    }
    walk.add_axis(shape[axis], steps);
  }
  return walk;
}

}  // namespace thorax
