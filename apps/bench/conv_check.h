// Results of convolutions held against their definition, summed in double precision element by
// element: of small problems every element, of others as many as cost about as much, at random.
#pragma once

#include <cstdint>

#include "kernels/conv2d/conv2d.h"
#include "kernels/conv_transpose2d/conv_transpose2d.h"

namespace thorax::app {

// A convolution as sums over (x pixel, filter tap, y pixel). `x` is the side without stride: the
// input of a convolution, the output of a transposed one. The filter is
// y_channels x kernel_h x kernel_w x (x_channels / groups).
struct ConvGeometry {
  std::int64_t batch, x_height, x_width, x_channels, y_height, y_width, y_channels;
  std::int64_t kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, groups;

  explicit ConvGeometry(const Conv2dProblem& problem);
  explicit ConvGeometry(const ConvTranspose2dProblem& problem);
  // The most products that an element of y, x and the filter sums up.
  std::int64_t y_terms() const { return kernel_h * kernel_w * (x_channels / groups); }
  std::int64_t x_terms() const { return kernel_h * kernel_w * (y_channels / groups); }
  std::int64_t filter_terms() const { return batch * y_height * y_width; }
};

// Each gives the largest difference between an element and its definition, divided by `allowed`:
// at most 1 is right, infinite where an element is NaN. All tensors are contiguous, f32, on the
// CPU. `bias` may be undefined, one value a channel of the result. `gate` may be undefined: where
// it is <= 0, y counts as zero.

// y = act(x * w + bias)
double y_error(const ConvGeometry& g, const Tensor& x, const Tensor& w, const Tensor& bias,
               bool relu, const Tensor& y, double allowed);
// x = adjoint(y) + bias
double x_error(const ConvGeometry& g, const Tensor& y, const Tensor& gate, const Tensor& w,
               const Tensor& bias, const Tensor& x, double allowed);
// dw, from x and y
double filter_error(const ConvGeometry& g, const Tensor& x, const Tensor& y, const Tensor& gate,
                    const Tensor& dw, double allowed);

}  // namespace thorax::app
