// Mathematical functions of one tensor, element by element, and arithmetic with a number. They are
// kinds of activation (activation.h): same providers, same rules.
#pragma once

#include "kernels/activation/activation.h"

namespace thorax {

// Differentiable, f32 or f64, on GPUs f32, f16 or bf16, any shape; values outside a function's
// domain are NaN or infinite as in <cmath>, and a NaN stays a NaN.
Variable exp(const Variable& x);
Variable log(const Variable& x);   // natural
Variable sqrt(const Variable& x);  // the gradient at 0 is infinite
Variable abs(const Variable& x);   // the gradient at 0 is 0
Variable pow(const Variable& x, double exponent);
// factor * x + shift, in float (in double of f64) and rounded once to x's type.
Variable affine(const Variable& x, double factor, double shift = 0);

inline Variable operator-(const Variable& x) {
  return affine(x, -1);
}
inline Variable operator+(const Variable& x, double number) {
  return affine(x, 1, number);
}
inline Variable operator+(double number, const Variable& x) {
  return affine(x, 1, number);
}
inline Variable operator-(const Variable& x, double number) {
  return affine(x, 1, -number);
}
inline Variable operator-(double number, const Variable& x) {
  return affine(x, -1, number);
}
inline Variable operator*(const Variable& x, double number) {
  return affine(x, number);
}
inline Variable operator*(double number, const Variable& x) {
  return affine(x, number);
}
// x times 1 / number.
inline Variable operator/(const Variable& x, double number) {
  return affine(x, 1 / number);
}
inline Variable operator/(double number, const Variable& x) {
  return affine(pow(x, -1), number);
}

}  // namespace thorax
