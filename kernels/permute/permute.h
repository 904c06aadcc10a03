// Axes in another order, and the same elements in another shape.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/autograd/variable.h"
#include "engine/registry/registry.h"

namespace thorax {

struct PermuteProblem {
  Shape shape;                              // of x
  std::array<int, Shape::kMaxRank> axes{};  // axis i of y is axis axes[i] of x
  DType dtype = DType::f32;

  Shape result_shape() const;
  PermuteProblem inverse() const;  // from y to x
  // "permute of 2x3x4 f32 to 4x2x3"
  std::string to_string() const;
};

// x and y may be channel slices; y has result_shape() and is overwritten. Moves elements as they
// are.
struct PermuteProvider {
  const char* name;
  DeviceKind device;
  int (*priority)(const PermuteProblem&);
  void (*forward)(const PermuteProblem&, const Tensor& x, const Tensor& y);
};

Registry<PermuteProvider>& permute_providers();

// Differentiable, f32 or f64, on GPUs f32, f16 or bf16. The result is contiguous, in memory of its
// own. `axes` names every axis of x once; negative ones count from the end. Throw Error "[permute]
// ..." or "[transpose] ..." when they do not.
Variable permute(const Variable& x, const std::vector<int>& axes);
// Two axes exchanged; the last two unless told otherwise.
Variable transpose(const Variable& x, int first = -2, int second = -1);

// The same elements in another shape (row-major order of the NHWC memory), of any type; shares
// memory with x unless x is a channel slice, which is copied. Throws Error "[reshape] ..." when the
// element counts differ.
Variable reshape(const Variable& x, const Shape& shape);
// All axes but the first as one: N x H x W x C -> N x HWC.
Variable flatten(const Variable& x);

}  // namespace thorax
