// 2-D transposed convolution, the adjoint of conv2d in its input ("deconvolution", up-convolution):
//   y[n, h*stride_h - pad_h + r*dilation_h, w*stride_w - pad_w + s*dilation_w, k]
//       += x[n,h,w,c] * w[c,r,s,k']        summed over h, w, r, s, c; then + bias[k]
// with k' = k within its group. NHWC activations; the filter is C x R x S x (K / groups): KRSC of
// the convolution it is the adjoint of, whose outputs are our inputs. A PyTorch file (C x K/groups
// x R x S) converts like any other filter, second axis to the end.
#pragma once

#include <cstdint>
#include <string>

#include "engine/autograd/variable.h"
#include "engine/registry/registry.h"

namespace thorax {

struct ConvTranspose2dProblem {
  std::int64_t batch = 0, height = 0, width = 0, in_channels = 0;  // x: N x H x W x C
  std::int64_t out_channels = 0, kernel_h = 0, kernel_w = 0;       // w: C x R x S x (K / groups)
  std::int64_t stride_h = 1, stride_w = 1;
  std::int64_t pad_h = 0, pad_w = 0;      // rows and columns cut off on both sides
  std::int64_t extra_h = 0, extra_w = 0;  // output padding: more rows at the end
  std::int64_t dilation_h = 1, dilation_w = 1;
  std::int64_t groups = 1;
  bool bias = false;
  // Of x, y, dy, dx and the filter. Beside f16 and bf16 the bias, dw and dbias are f32
  // (kernels/common/precision.h).
  DType dtype = DType::f32;

  std::int64_t out_height() const {
    return (height - 1) * stride_h - 2 * pad_h + dilation_h * (kernel_h - 1) + extra_h + 1;
  }
  std::int64_t out_width() const {
    return (width - 1) * stride_w - 2 * pad_w + dilation_w * (kernel_w - 1) + extra_w + 1;
  }
  Shape input_shape() const { return {batch, height, width, in_channels}; }
  Shape filter_shape() const { return {in_channels, kernel_h, kernel_w, out_channels / groups}; }
  Shape output_shape() const { return {batch, out_height(), out_width(), out_channels}; }
  // Multiply-adds count as two.
  double flops() const {
    return 2.0 * static_cast<double>(input_shape().numel()) *
           static_cast<double>(kernel_h * kernel_w * (out_channels / groups));
  }
  std::string to_string() const;
  // Throws Error "[conv_transpose2d] ..." when the numbers contradict each other.
  void check() const;
};

// Tensors may be channel slices except filters and bias. Outputs are overwritten. Undefined `bias`
// and `dbias` mean absent.
struct ConvTranspose2dProvider {
  const char* name;
  DeviceKind device;
  int (*priority)(const ConvTranspose2dProblem&);
  void (*forward)(const ConvTranspose2dProblem&, const Tensor& x, const Tensor& w,
                  const Tensor& bias, const Tensor& y);
  // dgrad: dx from dy
  void (*backward_data)(const ConvTranspose2dProblem&, const Tensor& dy, const Tensor& w,
                        const Tensor& dx);
  // wgrad: dw (and dbias when defined) from x and dy
  void (*backward_filter)(const ConvTranspose2dProblem&, const Tensor& x, const Tensor& dy,
                          const Tensor& dw, const Tensor& dbias);
};

Registry<ConvTranspose2dProvider>& conv_transpose2d_providers();

// The provider for one pass of a problem: the registry's choice, or with autotuning the fastest
// (engine/registry/autotune.h).
enum class ConvTranspose2dPass : std::uint8_t { forward, backward_data, backward_filter };
const ConvTranspose2dProvider& conv_transpose2d_provider(const ConvTranspose2dProblem& problem,
                                                         ConvTranspose2dPass pass, Device device);

struct ConvTranspose2dOptions {
  std::int64_t stride = 1;
  std::int64_t padding = 0;
  std::int64_t output_padding = 0;
  std::int64_t dilation = 1;
  std::int64_t groups = 1;
  // Where to write the result: a tensor (or channel slice) of the output's shape. Undefined = new
  // memory.
  Tensor out = {};
};

// The problem of a call; throws Error naming the shapes when they do not fit. `bias` may be
// undefined.
ConvTranspose2dProblem conv_transpose2d_problem(const Tensor& x, const Tensor& w,
                                                const Tensor& bias,
                                                const ConvTranspose2dOptions& options);

// Differentiable. x: N x H x W x C, w: C x R x S x K/groups, bias: K or undefined.
Variable conv_transpose2d(const Variable& x, const Variable& w, const Variable& bias,
                          const ConvTranspose2dOptions& options = {});

}  // namespace thorax
