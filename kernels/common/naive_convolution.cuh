// What the naive kernels of conv2d and its adjoint conv_transpose2d share: maps, the problem's
// numbers, and the position that another one reaches through a tap.
#pragma once

#include "kernels/common/naive.cuh"

namespace thorax {
namespace THORAX_GPU {
namespace {

// A map of height x width pixels; pixels may be further apart than their channels.
template <class T>
struct Map {
  T* data;
  Index height, width, stride;
  explicit Map(const Tensor& t)
      : data(t.device_data<std::remove_const_t<T>>()),
        height(t.size(1)),
        width(t.size(2)),
        stride(t.pixel_stride()) {}
  __device__ T* pixel(Index n, Index h, Index w) const {
    return data + ((n * height + h) * width + w) * stride;
  }
};

struct Geometry {
  Index channels, outputs, group_in, group_out;
  int kernel_h, kernel_w;
  Index stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
  template <class Problem>
  explicit Geometry(const Problem& p)
      : channels(p.in_channels),
        outputs(p.out_channels),
        group_in(p.in_channels / p.groups),
        group_out(p.out_channels / p.groups),
        kernel_h(static_cast<int>(p.kernel_h)),
        kernel_w(static_cast<int>(p.kernel_w)),
        stride_h(p.stride_h),
        stride_w(p.stride_w),
        pad_h(p.pad_h),
        pad_w(p.pad_w),
        dilation_h(p.dilation_h),
        dilation_w(p.dilation_w) {}
};

// The row or column of the strided side that `position` of the other side meets through a tap,
// or -1.
__device__ Index reached(Index position, Index tap, Index stride, Index pad, Index dilation,
                         Index count) {
  const Index shifted = position + pad - tap * dilation;
  return shifted < 0 || shifted % stride != 0 || shifted / stride >= count ? -1 : shifted / stride;
}

}  // namespace
}  // namespace THORAX_GPU
}  // namespace thorax
