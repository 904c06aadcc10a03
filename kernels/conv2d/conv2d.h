// 2-D convolution (cross-correlation, as everywhere in deep learning), NHWC x KRSC -> NHWC:
//   y[n,p,q,k] = act( bias[k] + residual[n,p,q,k]
//                   + sum_{r,s,c} x[n, p*stride_h - pad_h + r*dilation_h, q*stride_w - pad_w +
//                   s*dilation_w, c'] * w[k,r,s,c] )
// with c' = c + group(k) * C/groups, zero outside the image, act = ReLU or identity.
#pragma once

#include <cstdint>
#include <string>

#include "engine/autograd/variable.h"
#include "engine/registry/registry.h"
#include "kernels/common/channel_parts.h"

namespace thorax {

// Everything that decides which kernel can run; passed whole.
struct Conv2dProblem {
  std::int64_t batch = 0, height = 0, width = 0, in_channels = 0;  // x: N x H x W x C
  std::int64_t out_channels = 0, kernel_h = 0, kernel_w = 0;       // w: K x R x S x (C / groups)
  std::int64_t stride_h = 1, stride_w = 1;
  std::int64_t pad_h = 0, pad_w = 0;  // zeros on both sides
  std::int64_t dilation_h = 1, dilation_w = 1;
  std::int64_t groups = 1;
  bool bias = false;      // bias[K] is added
  bool residual = false;  // a tensor of y's shape is added before the activation (forward only)
  bool relu = false;      // y = max(0, .); a NaN stays one
  // Of x, y, dy, dx, the residual and the filter. Beside f16 and bf16 the bias, dw and dbias are
  // f32 (kernels/common/precision.h); sums are made in f32 or better.
  DType dtype = DType::f32;

  std::int64_t out_height() const {
    return (height + 2 * pad_h - dilation_h * (kernel_h - 1) - 1) / stride_h + 1;
  }
  std::int64_t out_width() const {
    return (width + 2 * pad_w - dilation_w * (kernel_w - 1) - 1) / stride_w + 1;
  }
  Shape input_shape() const { return {batch, height, width, in_channels}; }
  Shape filter_shape() const { return {out_channels, kernel_h, kernel_w, in_channels / groups}; }
  Shape output_shape() const { return {batch, out_height(), out_width(), out_channels}; }
  // Multiply-adds count as two.
  double flops() const {
    return 2.0 * static_cast<double>(output_shape().numel()) *
           static_cast<double>(kernel_h * kernel_w * (in_channels / groups));
  }
  // "1x512x512x32 * 64x3x3x32 stride 1 pad 1"; the text of errors and benchmark rows.
  std::string to_string() const;
  // Throws Error "[conv2d] ..." when the numbers contradict each other.
  void check() const;
};

// Tensors may be channel slices (pixel stride > channels) except filters and bias. Outputs are
// overwritten. `y` in the backward functions is the forward output and only read when problem.relu:
// no gradient passes where y <= 0. Undefined `bias`, `residual`, `dbias` mean absent.
struct Conv2dProvider {
  const char* name;
  DeviceKind device;
  int (*priority)(const Conv2dProblem&);
  void (*forward)(const Conv2dProblem&, const Tensor& x, const Tensor& w, const Tensor& bias,
                  const Tensor& residual, const Tensor& y);
  // dgrad: dx from dy
  void (*backward_data)(const Conv2dProblem&, const Tensor& dy, const Tensor& w, const Tensor& y,
                        const Tensor& dx);
  // wgrad: dw (and dbias when defined) from x and dy
  void (*backward_filter)(const Conv2dProblem&, const Tensor& x, const Tensor& dy, const Tensor& y,
                          const Tensor& dw, const Tensor& dbias);
  // Optional. The forward pass of a problem without bias, residual and ReLU that also sums up y's
  // channels, from registers, for the batch norm behind it; `parts` stays undefined where it
  // cannot.
  void (*forward_with_statistics)(const Conv2dProblem&, const Tensor& x, const Tensor& w,
                                  const Tensor& y, ChannelParts& parts) = nullptr;
};

Registry<Conv2dProvider>& conv2d_providers();

// The provider for one pass of a problem: the registry's choice, or with autotuning the fastest
// (engine/registry/autotune.h).
enum class Conv2dPass : std::uint8_t { forward, backward_data, backward_filter };
const Conv2dProvider& conv2d_provider(const Conv2dProblem& problem, Conv2dPass pass, Device device);

struct Conv2dOptions {
  std::int64_t stride = 1;
  std::int64_t padding = 0;
  std::int64_t dilation = 1;
  std::int64_t groups = 1;
  bool relu = false;
  // Where to write the result: a tensor (or channel slice) of the output's shape. Undefined = new
  // memory.
  Tensor out = {};
  // Added before the activation; inference only (recording gradients with it is an error).
  Tensor residual = {};
  // Where to leave the statistics of the result's channels, if the provider makes them.
  ChannelParts* statistics = nullptr;
};

// The problem of a call; throws Error naming the shapes when they do not fit. `bias` may be
// undefined. Beside a 16-bit x the filter may be f32.
Conv2dProblem conv2d_problem(const Tensor& x, const Tensor& w, const Tensor& bias,
                             const Conv2dOptions& options);

// Differentiable convolution. x: N x H x W x C, w: K x R x S x C/groups, bias: K or undefined. With
// a 16-bit x the parameters are f32 and so are their gradients: w is rounded to x's type once per
// call. A w that is 16-bit itself cannot require a gradient.
Variable conv2d(const Variable& x, const Variable& w, const Variable& bias,
                const Conv2dOptions& options = {});

}  // namespace thorax
