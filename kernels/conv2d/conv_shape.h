// The problem as the shared products see it.
#pragma once

#include "kernels/common/implicit_gemm.h"
#include "kernels/conv2d/conv2d.h"

namespace thorax {

inline gemm::ConvShape conv_shape(const Conv2dProblem& p) {
  return {p.batch,        p.height,     p.width,      p.in_channels, p.out_height(), p.out_width(),
          p.out_channels, p.kernel_h,   p.kernel_w,   p.stride_h,    p.stride_w,     p.pad_h,
          p.pad_w,        p.dilation_h, p.dilation_w, p.groups};
}

}  // namespace thorax
