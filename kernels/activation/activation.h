// Elementwise functions of one tensor: relu(x) = max(0, x), sigmoid(x) = 1 / (1 + exp(-x)); and
// those of unary.h.
#pragma once

#include <cstdint>
#include <string>

#include "engine/autograd/variable.h"
#include "engine/registry/registry.h"

namespace thorax {

enum class ActivationKind : std::uint8_t { relu, sigmoid, affine, exp, log, sqrt, abs, power };

constexpr std::string_view name_of(ActivationKind kind) {
  switch (kind) {
    case ActivationKind::relu:
      return "relu";
    case ActivationKind::sigmoid:
      return "sigmoid";
    case ActivationKind::affine:
      return "affine";
    case ActivationKind::exp:
      return "exp";
    case ActivationKind::log:
      return "log";
    case ActivationKind::sqrt:
      return "sqrt";
    case ActivationKind::abs:
      return "abs";
    case ActivationKind::power:
      return "power";
  }
  return "?";
}
// Whether the gradient is a function of the output, not of the input.
constexpr bool differentiated_by_output(ActivationKind kind) {
  return kind == ActivationKind::relu || kind == ActivationKind::sigmoid ||
         kind == ActivationKind::exp || kind == ActivationKind::sqrt;
}

struct ActivationProblem {
  ActivationKind kind = ActivationKind::relu;
  Shape shape;
  DType dtype = DType::f32;
  // affine: a x + b; power: x to the power a.
  double a = 1, b = 0;
  std::string to_string() const;
};

// x, y, dy and dx have the same shape, any rank, and may be channel slices; outputs are
// overwritten. `saved` is y where differentiated_by_output(kind), else x:
//   relu     dy where y > 0, else 0 (a NaN stays a NaN)     sigmoid  dy y (1 - y)
//   exp      dy y                                           sqrt     dy / (2 y)
//   log      dy / x                                         power    dy a x^(a - 1), 0 for a = 0
//   abs      dy with x's sign, 0 where x is 0               affine   dy a; saved is not read
struct ActivationProvider {
  const char* name;
  DeviceKind device;
  int (*priority)(const ActivationProblem&);
  void (*forward)(const ActivationProblem&, const Tensor& x, const Tensor& y);
  void (*backward)(const ActivationProblem&, const Tensor& dy, const Tensor& saved,
                   const Tensor& dx);
};

Registry<ActivationProvider>& activation_providers();
// One of these functions on the tape; a and b as in ActivationProblem.
Variable activation(ActivationKind kind, const Variable& x, double a = 1, double b = 0);

// Differentiable, f32, f64 or on GPUs f16 and bf16, any shape. A NaN stays a NaN.
Variable relu(const Variable& x);
Variable sigmoid(const Variable& x);

}  // namespace thorax
