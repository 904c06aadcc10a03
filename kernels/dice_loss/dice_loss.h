// Dice loss on logits, p = sigmoid(x) (Milletari et al., "V-Net", 3DV 2016):
//   loss = 1 - (2 sum(p g) + eps) / (sum(p^2) + sum(g^2) + eps)        squared (the study's)
//   loss = 1 - (2 sum(p g) + eps) / (sum(p) + sum(g) + eps)            plain
// Sums run over the whole batch, or over each image (then the losses are averaged).
//
// An image (or batch) whose target is empty has sum(p g) = 0: its loss is 1 - eps / (sum(p^2) +
// eps), that is 1 as long as anything is predicted and 0 only once the prediction has vanished as
// well.
#pragma once

#include <cstdint>
#include <string>

#include "engine/autograd/variable.h"
#include "engine/registry/registry.h"

namespace thorax {

struct DiceOptions {
  bool squared = true;
  bool per_image = false;
  double epsilon = 1e-6;  // > 0; keeps 0 / 0 away
};

struct DiceProblem {
  Shape shape;  // of logits and target; the first axis counts images
  bool squared = true;
  bool per_image = false;
  double epsilon = 1e-6;
  DType dtype = DType::f32;

  std::int64_t groups() const { return per_image ? shape[0] : 1; }
  std::int64_t group_size() const { return shape.numel() / groups(); }
  std::string to_string() const;
};

// Sums of one group, as forward leaves them in `sums` (groups x 3, f64): sum(p g), the prediction's
// share of the denominator, the target's share.
struct DiceSums {
  double overlap, prediction, target;
  double dice(double epsilon) const {
    return (2 * overlap + epsilon) / (prediction + target + epsilon);
  }
};

// logits, dlogits and target have the same shape and may be channel slices; the target is of the
// logits' dtype, u8 where non-zero counts as 1, or f32. loss and dloss: {1}, of the logits' dtype,
// or f32 when that has 16 bits. Everything is on the logits' device: dloss too, so that a step
// never waits for it.
struct DiceProvider {
  const char* name;
  DeviceKind device;
  int (*priority)(const DiceProblem&);
  // One pass: the sums of every group, and the loss.
  void (*forward)(const DiceProblem&, const Tensor& logits, const Tensor& target,
                  const Tensor& sums, const Tensor& loss);
  // One pass: dlogits = dloss * d(loss)/d(logits), p computed again.
  void (*backward)(const DiceProblem&, const Tensor& dloss, const Tensor& logits,
                   const Tensor& target, const Tensor& sums, const Tensor& dlogits);
};

Registry<DiceProvider>& dice_loss_providers();

// Differentiable in the logits (rank 1 to 5, at least one element, f32 or f64; on a GPU
// f32, f16 or bf16); result {1}, f64 or f32. Throws
// Error "[dice_loss] ..." naming the shapes when they do not fit.
Variable dice_loss(const Variable& logits, const Tensor& target, const DiceOptions& options = {});

}  // namespace thorax
