// Sums and means over axes of a tensor.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "engine/autograd/variable.h"
#include "engine/registry/registry.h"

namespace thorax {

struct ReduceProblem {
  Shape shape;                               // of x
  std::array<bool, Shape::kMaxRank> axes{};  // those that are summed over
  double scale = 1;                          // what the sum is multiplied by: 1 / count for a mean
  DType dtype = DType::f32;

  // x's shape with extent 1 for every axis that is summed over.
  Shape kept_shape() const;
  std::int64_t count() const;  // elements that one result sums
  // "sum of 8x32x32x3 over 1,2"
  std::string to_string() const;
};

// x and dx have `shape` and may be channel slices; y and dy have kept_shape() and are contiguous.
// Outputs are overwritten. Sums are made in double, in an order that the shape alone decides; an
// empty sum is 0. A NaN reaches every sum that it is a part of.
struct ReduceProvider {
  const char* name;
  DeviceKind device;
  int (*priority)(const ReduceProblem&);
  // y = scale * sum of x over the axes
  void (*forward)(const ReduceProblem&, const Tensor& x, const Tensor& y);
  // dx = scale * dy, repeated along the axes
  void (*backward)(const ReduceProblem&, const Tensor& dy, const Tensor& dx);
};

Registry<ReduceProvider>& reduce_providers();

// `t` summed over the axes along which `shape` would be broadcast to t's shape; `t` itself where
// there are none. What brings a gradient back to the shape of an operand.
Tensor sum_to(const Tensor& t, const Shape& shape);

// Differentiable, f32 or f64, on GPUs f32, f16 or bf16, of x's type. Negative axes count from the
// end. An axis that is summed over is left out of the result's shape, or has extent 1 there with
// `keepdim`; a result without any axis has the shape {1}, as losses have. Throw Error "[sum] ..."
// for an axis that x does not have or that is named twice; "[mean] ..." also for no elements.
Variable sum(const Variable& x);
Variable sum(const Variable& x, std::initializer_list<int> axes, bool keepdim = false);
Variable mean(const Variable& x);
Variable mean(const Variable& x, std::initializer_list<int> axes, bool keepdim = false);

}  // namespace thorax
