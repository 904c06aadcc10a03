// softmax(x)_k = exp(x_k) / sum_j exp(x_j), and its logarithm, along one axis.
#pragma once

#include <cstdint>
#include <string>

#include "engine/autograd/variable.h"
#include "engine/registry/registry.h"

namespace thorax {

struct SoftmaxProblem {
  Shape shape;  // rows along the last axis
  bool log = false;
  DType dtype = DType::f32;
  std::string to_string() const;
};

// x, y, dy and dx have the same shape and may be channel slices; outputs are overwritten. The
// largest element of a row is subtracted first, so that nothing overflows. A row with a NaN or +inf
// becomes NaN.
//   softmax:     dx = y (dy - sum dy y)
//   log_softmax: dx = dy - exp(y) sum dy
struct SoftmaxProvider {
  const char* name;
  DeviceKind device;
  int (*priority)(const SoftmaxProblem&);
  void (*forward)(const SoftmaxProblem&, const Tensor& x, const Tensor& y);
  void (*backward)(const SoftmaxProblem&, const Tensor& dy, const Tensor& y, const Tensor& dx);
};

Registry<SoftmaxProvider>& softmax_providers();

// Differentiable, f32 or f64, on GPUs f32, f16 or bf16, rank 1 or more. Along another axis than the
// last, x is transposed before and after. Throw Error "[softmax] ..." for an axis that x does not
// have. A loss of labels is better taken of logits, by cross_entropy.
Variable softmax(const Variable& x, int axis = -1);
Variable log_softmax(const Variable& x, int axis = -1);

}  // namespace thorax
