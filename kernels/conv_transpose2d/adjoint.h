// The convolution whose data gradient a transposed convolution is.
#pragma once

#include "kernels/conv2d/conv2d.h"
#include "kernels/conv_transpose2d/conv_transpose2d.h"

namespace thorax {

// From y's shape to x's; the filter is the same tensor. Its dgrad is our forward, its forward our
// dgrad, its wgrad ours with x and dy changed round.
inline Conv2dProblem adjoint(const ConvTranspose2dProblem& p) {
  Conv2dProblem c;
  c.batch = p.batch;
  c.height = p.out_height();
  c.width = p.out_width();
  c.in_channels = p.out_channels;
  c.out_channels = p.in_channels;
  c.kernel_h = p.kernel_h;
  c.kernel_w = p.kernel_w;
  c.stride_h = p.stride_h;
  c.stride_w = p.stride_w;
  c.pad_h = p.pad_h;
  c.pad_w = p.pad_w;
  c.dilation_h = p.dilation_h;
  c.dilation_w = p.dilation_w;
  c.groups = p.groups;
  c.dtype = p.dtype;
  return c;
}
// Whether that convolution's result has x's size. With an output padding of a stride or more it
// would be larger: only kernels that take both sizes as they are can do it.
inline bool adjoint_fits(const ConvTranspose2dProblem& p) {
  const Conv2dProblem c = adjoint(p);
  return c.out_height() == p.height && c.out_width() == p.width;
}

}  // namespace thorax
