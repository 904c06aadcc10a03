// The problem as the shared products see it: the convolution whose input is our output.
#pragma once

#include "kernels/common/implicit_gemm.h"
#include "kernels/conv_transpose2d/conv_transpose2d.h"

namespace thorax {

inline gemm::ConvShape conv_shape(const ConvTranspose2dProblem& p) {
  return {p.batch,       p.out_height(), p.out_width(), p.out_channels, p.height,   p.width,
          p.in_channels, p.kernel_h,     p.kernel_w,    p.stride_h,     p.stride_w, p.pad_h,
          p.pad_w,       p.dilation_h,   p.dilation_w,  p.groups};
}

}  // namespace thorax
