// Pooling over windows of N x H x W x C:
//   max: y[n,p,q,c] = max over the window's pixels inside the image; a NaN wins
//   avg: y[n,p,q,c] = sum over the window's pixels inside the image / divisor
// The window of (p, q) starts at (p * stride - padding, q * stride - padding). The average's
// divisor counts the pixels inside the padded image (count_include_pad) or inside the image. Sizes,
// the divisor and ties (the gradient goes to the first maximum in row order) are PyTorch's.
#pragma once

#include <cstdint>
#include <string>

#include "engine/autograd/variable.h"
#include "engine/registry/registry.h"

namespace thorax {

enum class PoolKind : std::uint8_t { max, avg };

// Everything that decides which kernel can run; passed whole.
struct PoolProblem {
  PoolKind kind = PoolKind::max;
  std::int64_t batch = 0, height = 0, width = 0, channels = 0;
  std::int64_t kernel_h = 2, kernel_w = 2, stride_h = 2, stride_w = 2, pad_h = 0, pad_w = 0;
  bool ceil_mode = false;         // a last window that only starts inside the image counts
  bool count_include_pad = true;  // average only
  DType dtype = DType::f32;

  std::int64_t out_height() const { return out_size(height, kernel_h, stride_h, pad_h); }
  std::int64_t out_width() const { return out_size(width, kernel_w, stride_w, pad_w); }
  Shape input_shape() const { return {batch, height, width, channels}; }
  Shape output_shape() const { return {batch, out_height(), out_width(), channels}; }
  // "max 1x512x512x32 kernel 2 stride 2"
  std::string to_string() const;
  // Throws Error "[pool] ..." when the numbers contradict each other.
  void check() const;

 private:
  std::int64_t out_size(std::int64_t size, std::int64_t kernel, std::int64_t stride,
                        std::int64_t pad) const;
};

// The part of a window along one axis that lies inside the image, [begin, end), and how many of its
// pixels lie inside the padded image.
struct PoolWindow {
  std::int64_t begin, end, padded;
  PoolWindow(std::int64_t position, std::int64_t size, std::int64_t kernel, std::int64_t stride,
             std::int64_t pad);
};
inline PoolWindow window_rows(const PoolProblem& pr, std::int64_t p) {
  return {p, pr.height, pr.kernel_h, pr.stride_h, pr.pad_h};
}
inline PoolWindow window_columns(const PoolProblem& pr, std::int64_t q) {
  return {q, pr.width, pr.kernel_w, pr.stride_w, pr.pad_w};
}
// What an average over the two windows is divided by.
inline std::int64_t pool_divisor(const PoolProblem& pr, const PoolWindow& rows,
                                 const PoolWindow& columns) {
  return pr.count_include_pad ? rows.padded * columns.padded
                              : (rows.end - rows.begin) * (columns.end - columns.begin);
}

// x, y, dy and dx are f32, f64 or on GPUs f16 and bf16 (averages are summed in float) and may be
// channel slices. `argmax` (max only) is a contiguous u8 tensor of y's
// shape: which tap r * kernel_w + s of the window, counted with its padding, held the maximum;
// undefined = not wanted.
struct PoolProvider {
  const char* name;
  DeviceKind device;
  int (*priority)(const PoolProblem&);
  void (*forward)(const PoolProblem&, const Tensor& x, const Tensor& y, const Tensor& argmax);
  // Writes all of dx, pixels outside every window as zeros.
  void (*backward)(const PoolProblem&, const Tensor& dy, const Tensor& argmax, const Tensor& dx);
};

Registry<PoolProvider>& pool_providers();

struct PoolOptions {
  std::int64_t kernel = 2;
  std::int64_t stride = 0;  // 0 = kernel
  std::int64_t padding = 0;
  bool ceil_mode = false;
  bool count_include_pad = true;
  // Where to write the result: a tensor (or channel slice) of the output's shape. Undefined = new
  // memory.
  Tensor out = {};
};

// The problem of a call; throws Error naming the shapes when they do not fit. A max window holds at
// most 256 pixels.
PoolProblem pool_problem(PoolKind kind, const Tensor& x, const PoolOptions& options);

// Differentiable. x: N x H x W x C.
Variable max_pool2d(const Variable& x, const PoolOptions& options);
Variable avg_pool2d(const Variable& x, const PoolOptions& options);
// The mean over H x W: N x H x W x C -> N x C. An image without pixels is an error.
Variable global_avg_pool(const Variable& x);

}  // namespace thorax
