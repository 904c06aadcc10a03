// The walk along y's elements with the places that they have in x.
#pragma once

#include "kernels/common/strided.h"
#include "kernels/permute/permute.h"

namespace thorax {

inline StridedWalk<2> permute_walk(const PermuteProblem& p, const Tensor& x, const Tensor& y) {
  const auto from = element_strides(x), to = element_strides(y);
  StridedWalk<2> walk;
  for (int axis = 0; axis < p.shape.rank(); ++axis) {
    const auto i = static_cast<std::size_t>(axis), source = static_cast<std::size_t>(p.axes[i]);
    walk.add_axis(p.shape[p.axes[i]], {from[source], to[i]});
  }
  return walk;
}

}  // namespace thorax
