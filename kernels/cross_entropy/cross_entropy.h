// Classification losses on logits.
//   binary: l = (1 - t) softplus(x) + w t softplus(-x), softplus(x) = log(1 + exp(x)),
//           mean over all elements; w = pos_weight. With a weight u for every element the loss is
//           the sum of u l instead: u = known / number of known elements makes it the mean over
//           those, and elements with u = 0 have neither loss nor gradient
//   multi-class: l = -sum_k w_k q_k log softmax(x)_k, q_k = (1 - s) [k == label] + s / K,
//           mean over rows; s = label smoothing (Szegedy et al., CVPR 2016), w = class weights
// Both are computed without overflow for any finite logits.
#pragma once

#include <cstdint>
#include <string>

#include "engine/autograd/variable.h"
#include "engine/registry/registry.h"

namespace thorax {

struct BceProblem {
  Shape shape;
  double pos_weight = 1;
  DType dtype = DType::f32;
  bool weighted = false;  // there is a weight for every element
  std::string to_string() const;
};

// logits, dlogits and target have the same shape and may be channel slices; the target is of the
// logits' dtype or f32 with values in [0, 1], or u8 where non-zero counts as 1. weight: undefined
// unless the problem is weighted, then of the same shape, finite, of the dtype of the loss. loss
// and dloss: {1}, of the logits' dtype, or f32 when that has 16 bits; dloss is on the device, so
// that a step never waits for it.
struct BceProvider {
  const char* name;
  DeviceKind device;
  int (*priority)(const BceProblem&);
  void (*forward)(const BceProblem&, const Tensor& logits, const Tensor& target,
                  const Tensor& weight, const Tensor& loss);
  void (*backward)(const BceProblem&, const Tensor& dloss, const Tensor& logits,
                   const Tensor& target, const Tensor& weight, const Tensor& dlogits);
};

struct CrossEntropyProblem {
  std::int64_t rows = 0, classes = 0;
  double label_smoothing = 0;
  DType dtype = DType::f32;
  std::string to_string() const;
};

// logits, dlogits: rows x classes, may be slices; labels: rows, i64, checked where they are on the
// CPU; elsewhere a provider makes the loss NaN for a label out of range. class_weights: classes,
// f32, or undefined: all are 1. loss and dloss as above.
struct CrossEntropyProvider {
  const char* name;
  DeviceKind device;
  int (*priority)(const CrossEntropyProblem&);
  void (*forward)(const CrossEntropyProblem&, const Tensor& logits, const Tensor& labels,
                  const Tensor& class_weights, const Tensor& loss);
  void (*backward)(const CrossEntropyProblem&, const Tensor& dloss, const Tensor& logits,
                   const Tensor& labels, const Tensor& class_weights, const Tensor& dlogits);
};

Registry<BceProvider>& bce_with_logits_providers();         // operation "bce_with_logits"
Registry<CrossEntropyProvider>& cross_entropy_providers();  // operation "cross_entropy"

// Differentiable in the logits (any shape with at least one element, f32 or f64; on a GPU f32, f16
// or bf16); result {1}, f64 or f32.
// pos_weight > 0 weighs the positive term. With `weight` (of the logits' shape) the weighted sum
// instead of the mean. Throws Error "[bce_with_logits] ..." when shapes or types do not fit.
Variable bce_with_logits(const Variable& logits, const Tensor& target, double pos_weight = 1,
                         const Tensor& weight = {});

// Differentiable in the logits (N x K, N >= 1); labels_i64: N whole numbers in [0, K); result {1}.
// class_weights: K numbers >= 0 (f32, on the logits' device) that weigh each class's term, as
// PyTorch's `weight` does; the sum is divided by N, not by the sum of the weights, so that a batch
// of one class is weighted like any other. Undefined: all 1.
// Throws Error "[cross_entropy] ..." when shapes do not fit or a label is out of range (naming the
// row). Labels in GPU memory are not read here, which would wait for the device: check them before
// they are uploaded; one out of range makes the loss NaN.
Variable cross_entropy(const Variable& logits, const Tensor& labels_i64, double label_smoothing = 0,
                       const Tensor& class_weights = {});

}  // namespace thorax
