// Elementwise arithmetic of two tensors with broadcasting: a + b, a - b, a * b, a / b.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/autograd/variable.h"
#include "engine/registry/registry.h"

namespace thorax {

enum class BinaryKind : std::uint8_t { add, sub, mul, div };

constexpr std::string_view name_of(BinaryKind kind) {
  switch (kind) {
    case BinaryKind::add:
      return "add";
    case BinaryKind::sub:
      return "sub";
    case BinaryKind::mul:
      return "mul";
    case BinaryKind::div:
      return "div";
  }
  return "?";
}

// The shape that both are broadcast to, by NumPy's rule: axes are matched from the last on, and two
// extents fit when they are equal or one of them is 1 or missing. Throws Error "[<operation>] ..."
// naming both shapes when they do not fit.
Shape broadcast_shape(std::string_view operation, const Shape& a, const Shape& b);

struct BinaryProblem {
  BinaryKind kind = BinaryKind::add;
  Shape a, b;
  DType dtype = DType::f32;

  Shape result_shape() const { return broadcast_shape(name_of(kind), a, b); }
  std::string to_string() const;
};

// a, b and y may be channel slices; y has result_shape() and is overwritten. Rounded once to the
// type; a NaN of either operand stays one, x / 0 is as IEEE 754 has it.
struct BinaryProvider {
  const char* name;
  DeviceKind device;
  int (*priority)(const BinaryProblem&);
  void (*forward)(const BinaryProblem&, const Tensor& a, const Tensor& b, const Tensor& y);
};

Registry<BinaryProvider>& binary_providers();

// Differentiable. Both operands f32 or f64, on GPUs f32, f16 or bf16, of one type and on one
// device; gradients are summed over the axes that an operand was repeated along.
// Throw Error "[add] ..." naming shapes, types or devices that do not fit.
Variable add(const Variable& a, const Variable& b);
Variable sub(const Variable& a, const Variable& b);
Variable mul(const Variable& a, const Variable& b);
Variable div(const Variable& a, const Variable& b);

inline Variable operator+(const Variable& a, const Variable& b) {
  return add(a, b);
}
inline Variable operator-(const Variable& a, const Variable& b) {
  return sub(a, b);
}
inline Variable operator*(const Variable& a, const Variable& b) {
  return mul(a, b);
}
inline Variable operator/(const Variable& a, const Variable& b) {
  return div(a, b);
}

}  // namespace thorax
