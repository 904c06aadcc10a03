// The axes of a reduction as its providers walk them: those that are kept, and those summed over.
#pragma once

#include "kernels/common/strided.h"
#include "kernels/reduce/reduce.h"

namespace thorax {

struct ReduceAxes {
  StridedWalk<1> kept, summed;
  ReduceAxes(const ReduceProblem& p, const Tensor& x) {
    const auto strides = element_strides(x);
    for (int axis = 0; axis < p.shape.rank(); ++axis) {
      const auto i = static_cast<std::size_t>(axis);
      (p.axes[i] ? summed : kept).add_axis(p.shape[axis], {strides[i]});
    }
  }
  // Whether the elements of one sum lie side by side, rather than those of neighbouring sums.
  bool rows() const { return kept.count() <= 1 || summed.steps(summed.rank() - 1)[0] == 1; }
};

}  // namespace thorax
