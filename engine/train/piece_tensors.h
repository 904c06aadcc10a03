// What the pieces of a step have in common: gradients to be summed, and buffers, which every piece
// begins with as they were before the step.
#pragma once

#include <vector>

#include "engine/dist/tree_sum.h"
#include "engine/nn/module.h"

namespace thorax {

class PieceTensors {
 public:
  // Remembers the values of the buffers. Gradients are f32 or f64.
  PieceTensors(const std::vector<Module::Named>& parameters,
               std::vector<Module::NamedBuffer> buffers);
  PieceSizes sizes() const { return sizes_; }

  // Before a piece: the buffers as they were.
  void begin() const;
  // After it: takes the gradients away, and what the buffers have become, which counts as
  // `samples`.
  PieceSum take(double samples) const;
  // Gives the parameters the sum of the gradients of all pieces, and the buffers their mean over
  // all samples (batch norm's running statistics) or, of integers, what all pieces have added.
  void put(const PieceSum& sum) const;

 private:
  const std::vector<Module::Named>& parameters_;
  std::vector<Module::NamedBuffer> buffers_;
  std::vector<Tensor> before_;  // on the CPU
  PieceSizes sizes_;
};

}  // namespace thorax
