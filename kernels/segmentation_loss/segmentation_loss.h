// What a network that finds several organs learns by: an overlap of each class, summed over the
// whole batch, plus a mean cross entropy, in one pass over the logits. With P pixels, C channels,
// p the probabilities, g the truth, I = sum(p g), S = sum(p^2) + sum(g^2) (squared) or
// sum(p) + sum(g):
//
//   dice         1 - mean over classes of (2 I + eps) / (S + eps)     (Milletari et al. 2016)
//   generalised  1 - 2 sum(w I) / sum(w S), w = 1 / sum(g)^2, S plain  (Sudre et al. 2017)
//   cross entropy weight times the mean over pixels (softmax), pixels and channels (sigmoid)
//
// Softmax: channel 0 is the background, every pixel has one label. Dice leaves the background out
// (as nnU-Net does), generalised Dice weighs it with the others.
// Sigmoid: every channel is an organ by itself, and organs may overlap. Generalised Dice then is
// that of the organ and its outside, averaged over the organs.
//
// A class without a pixel in the batch: Dice is eps / (S + eps), so that predicting it costs; in
// generalised Dice, where its weight would be infinite, it has that of the smallest class there is.
#pragma once

#include <cstdint>
#include <string>

#include "engine/autograd/variable.h"
#include "engine/registry/registry.h"

namespace thorax {

struct SegmentationLossOptions {
  bool softmax = false;
  bool generalised = false;
  bool squared = true;       // of dice
  double cross_entropy = 0;  // its weight, >= 0
  double epsilon = 1e-6;     // > 0; of dice
};

struct SegmentationLossProblem {
  std::int64_t pixels = 0, classes = 0;
  SegmentationLossOptions options;
  DType dtype = DType::f32;
  std::string to_string() const;
};

inline constexpr std::int64_t kMaxSegmentationClasses = 65;

// Per class, as forward leaves them in `sums` (classes x 4, f64): I, the prediction's and the
// target's share of S, the sum of the cross entropies.
struct SegmentationSums {
  double overlap, prediction, target, cross_entropy;
};

// logits, dlogits: pixels x classes behind one another, may be channel slices. target: with softmax
// i64 labels, one a pixel; with sigmoid of the logits' shape, their dtype, f32, or u8 where
// non-zero counts as 1. loss and dloss: {1}, of the logits' dtype, or f32 when that has 16 bits.
// All on the logits' device.
struct SegmentationLossProvider {
  const char* name;
  DeviceKind device;
  int (*priority)(const SegmentationLossProblem&);
  void (*forward)(const SegmentationLossProblem&, const Tensor& logits, const Tensor& target,
                  const Tensor& sums, const Tensor& loss);
  void (*backward)(const SegmentationLossProblem&, const Tensor& dloss, const Tensor& logits,
                   const Tensor& target, const Tensor& sums, const Tensor& dlogits);
};

Registry<SegmentationLossProvider>& segmentation_loss_providers();

// Differentiable in the logits (N x H x W x C, f32 or f64; on a GPU f32, f16 or bf16); result {1}.
// target: i64, N x H x W (softmax), or of the logits' shape (sigmoid). Throws Error
// "[segmentation_loss] ..." naming shapes and types that do not fit, and a label that is out of
// range (on the CPU; one in GPU memory makes the loss NaN).
Variable segmentation_loss(const Variable& logits, const Tensor& target,
                           const SegmentationLossOptions& options);

}  // namespace thorax
