// Enlarging (or shrinking, bilinear only) images N x H x W x C:
//   nearest:  y[n,p,q,c] = x[n, p / factor, q / factor, c]
//   bilinear: y[n,p,q,c] = sum of the four pixels of x around (source(p), source(q)), weighted by
//             closeness, with source(p) = max(0, (p + 0.5) * H / out_height - 0.5), or with
//             align_corners p * (H - 1) / (out_height - 1)
// No antialiasing when shrinking. Both as PyTorch's interpolate.
#pragma once

#include <cstdint>
#include <string>

#include "engine/autograd/variable.h"
#include "engine/registry/registry.h"

namespace thorax {

enum class UpsampleMode : std::uint8_t { nearest, bilinear };

// Everything that decides which kernel can run; passed whole.
struct UpsampleProblem {
  UpsampleMode mode = UpsampleMode::nearest;
  std::int64_t batch = 0, height = 0, width = 0, channels = 0;
  std::int64_t out_height = 0, out_width = 0;  // nearest: the same whole multiple of H and W
  bool align_corners = false;                  // bilinear only
  DType dtype = DType::f32;

  // Nearest only.
  std::int64_t factor() const { return height == 0 ? 1 : out_height / height; }
  Shape input_shape() const { return {batch, height, width, channels}; }
  Shape output_shape() const { return {batch, out_height, out_width, channels}; }
  // "nearest 8x28x28x18 -> 56x56"
  std::string to_string() const;
};

// Where output pixel `position` of an axis samples the input: pixels `low` and `high` with weights
// 1 - fraction and fraction.
struct SamplePoint {
  std::int64_t low, high;
  double fraction;
};
// constexpr: kernels for GPUs call it, too.
constexpr SamplePoint sample_point(std::int64_t position, std::int64_t size, std::int64_t out_size,
                                   bool align_corners) {
  double at = 0;
  if (!align_corners) {
    at = (static_cast<double>(position) + 0.5) * static_cast<double>(size) /
             static_cast<double>(out_size) -
         0.5;
    at = at > 0 ? at : 0.0;
  } else if (out_size > 1) {
    at = static_cast<double>(position * (size - 1)) / static_cast<double>(out_size - 1);
  }
  const auto whole = static_cast<std::int64_t>(at);
  const std::int64_t low = whole < size - 1 ? whole : size - 1;
  return {low, low + 1 < size - 1 ? low + 1 : size - 1, at - static_cast<double>(low)};
}

// Tensors may be channel slices, of f32, f64 or (on GPUs) f16 and bf16. Outputs are overwritten.
struct UpsampleProvider {
  const char* name;
  DeviceKind device;
  int (*priority)(const UpsampleProblem&);
  void (*forward)(const UpsampleProblem&, const Tensor& x, const Tensor& y);
  void (*backward)(const UpsampleProblem&, const Tensor& dy, const Tensor& dx);
};

Registry<UpsampleProvider>& upsample_providers();

// The problems of the two calls; throw Error "[upsample] ..." naming the shapes.
UpsampleProblem upsample_nearest_problem(const Tensor& x, std::int64_t factor);
UpsampleProblem upsample_bilinear_problem(const Tensor& x, std::int64_t out_height,
                                          std::int64_t out_width, bool align_corners);

// Differentiable. x: N x H x W x C -> N x H*factor x W*factor x C.
Variable upsample_nearest(const Variable& x, std::int64_t factor);
// Differentiable. x: N x H x W x C -> N x out_height x out_width x C.
Variable upsample_bilinear(const Variable& x, std::int64_t out_height, std::int64_t out_width,
                           bool align_corners = false);

}  // namespace thorax
