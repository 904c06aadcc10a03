// Elementwise activations: relu(x) = max(0, x), sigmoid(x) = 1 / (1 + exp(-x)); and reshape.
#pragma once

#include <cstdint>
#include <string>

#include "engine/autograd/variable.h"
#include "engine/registry/registry.h"

namespace thorax {

enum class ActivationKind : std::uint8_t { relu, sigmoid };

constexpr std::string_view name_of(ActivationKind kind) {
  return kind == ActivationKind::relu ? "relu" : "sigmoid";
}

struct ActivationProblem {
  ActivationKind kind = ActivationKind::relu;
  Shape shape;
  DType dtype = DType::f32;
  std::string to_string() const;
};

// x, y, dy and dx have the same shape, any rank, and may be channel slices; outputs are
// overwritten. Both gradients are functions of the output: relu passes dy where y > 0 (a NaN stays
// a NaN), sigmoid gives dy * y * (1 - y).
struct ActivationProvider {
  const char* name;
  DeviceKind device;
  int (*priority)(const ActivationProblem&);
  void (*forward)(const ActivationProblem&, const Tensor& x, const Tensor& y);
  void (*backward)(const ActivationProblem&, const Tensor& dy, const Tensor& y, const Tensor& dx);
};

Registry<ActivationProvider>& activation_providers();

// Differentiable, f32, f64 or on GPUs f16 and bf16, any shape. A NaN stays a NaN.
Variable relu(const Variable& x);
Variable sigmoid(const Variable& x);
// The same elements in another shape (row-major order of the NHWC memory); shares memory with x,
// which must be contiguous. Throws Error "[reshape] ..." when the element counts differ.
Variable reshape(const Variable& x, const Shape& shape);

}  // namespace thorax
