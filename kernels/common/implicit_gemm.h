// Convolution of any kernel, stride, padding, dilation and groups as matrix products whose left
// rows are read where they lie in the image ("implicit GEMM"). Shared by conv2d and
// conv_transpose2d, which are each other's gradients.
//
// NHWC maps with a pixel stride, KRSC filters. Every sum has a fixed order: results do not depend
// on the number of threads.
#pragma once

#include <cstdint>

namespace thorax::gemm {

// A convolution from x (batch x height x width x channels) to y (batch x out_height x out_width x
// out_channels).
struct ConvShape {
  std::int64_t batch, height, width, channels;
  std::int64_t out_height, out_width, out_channels;
  std::int64_t kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, groups;

  std::int64_t taps() const { return kernel_h * kernel_w; }
  std::int64_t group_in() const { return channels / groups; }
  std::int64_t group_out() const { return out_channels / groups; }
  std::int64_t pixels() const { return batch * height * width; }
  std::int64_t out_pixels() const { return batch * out_height * out_width; }
};

// A map's first element and the floats from one pixel to the next.
struct Pixels {
  float* data = nullptr;
  std::int64_t stride = 0;
  float* at(std::int64_t pixel) const { return data + pixel * stride; }
};

// y = act(x * w + bias + residual); bias and residual may be null.
void conv_forward(const ConvShape& shape, Pixels x, const float* w, const float* bias,
                  Pixels residual, bool relu, Pixels y);
// x = (adjoint of x -> x * w)(y) + bias, bias per channel of x or null. `gate`, when not null, is a
// map like y: elements of y where it is not positive count as zero.
void conv_adjoint(const ConvShape& shape, Pixels y, Pixels gate, const float* w, const float* bias,
                  Pixels x);
// dw = gradient of the filter from x and dy, dbias[k] = sum of dy (null when not wanted); gate as
// above.
void conv_filter_gradient(const ConvShape& shape, Pixels x, Pixels dy, Pixels gate, float* dw,
                          float* dbias);

// sums[c] = sum over pixels of map[pixel][c].
void channel_sums(std::int64_t pixels, std::int64_t channels, Pixels map, float* sums);

}  // namespace thorax::gemm
