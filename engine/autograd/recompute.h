// Trade arithmetic for memory: a block keeps only its inputs and is computed again in the backward
// pass. Chen et al., "Training deep nets with sublinear memory cost", 2016.
#pragma once

#include <functional>
#include <vector>

#include "engine/autograd/variable.h"

namespace thorax {

// Runs block(inputs) without recording; in the backward pass runs it again, with recording, and
// walks that. The block must be a pure function of its inputs and of parameters it refers to (whose
// gradients are accumulated as usual), drawing randomness from counters only, so that both runs
// give the same bits. Operations that keep statistics ask recomputing() and do not update them the
// second time.
Variable recompute(const std::function<Variable(const std::vector<Variable>&)>& block,
                   const std::vector<Variable>& inputs, bool parameters_need_grad = true);

// Marks this thread as running a block for the second time.
class RecomputeScope {
 public:
  RecomputeScope();
  ~RecomputeScope();
  RecomputeScope(const RecomputeScope&) = delete;
  RecomputeScope& operator=(const RecomputeScope&) = delete;

 private:
  bool previous_;
};

}  // namespace thorax
