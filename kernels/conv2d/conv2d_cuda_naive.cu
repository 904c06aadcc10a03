// Convolution on a GPU, first rung: one thread per element of the result, nothing shared.
//
//   forward         thread = y[n,p,q,k], sums over taps and channels of its group
//   data gradient   thread = dx[n,h,w,c], sums over the outputs that this pixel reaches
//   filter gradient thread = dw[k,r,s,c], sums over pixels; one thread more per k for dbias
//
// Consecutive threads take consecutive channels of the result, so that its stores and one of the
// two operands are read along memory. Every product costs two loads: the caches feed the
// multiplier, which is what the next rung (conv2d_cuda_tiled.cu) removes. It does any problem:
// groups, dilation, padding and strides of all kinds, float32 and float64, tensors of more than
// 2^31 elements.
#include "kernels/common/naive_convolution.cuh"
#include "kernels/conv2d/conv2d.h"

namespace thorax {
namespace THORAX_GPU {
namespace {

template <class T>
__global__ void forward_kernel(Geometry g, Map<const T> x, const T* w, const T* bias,
                               Map<const T> residual, bool relu, Map<T> y, Index count) {
  const Index i = thread_index();
  if (i >= count) return;
  const Index k = i % g.outputs, pixel = i / g.outputs;
  const Index q = pixel % y.width, p = pixel / y.width % y.height, n = pixel / y.width / y.height;
  const Index first = k / g.group_out * g.group_in;
  T sum = 0;
  for (int r = 0; r < g.kernel_h; ++r) {
    const Index h = p * g.stride_h - g.pad_h + r * g.dilation_h;
    if (h < 0 || h >= x.height) continue;
    for (int s = 0; s < g.kernel_w; ++s) {
      const Index v = q * g.stride_w - g.pad_w + s * g.dilation_w;
      if (v < 0 || v >= x.width) continue;
      const T* a = x.pixel(n, h, v) + first;
      const T* b = w + ((k * g.kernel_h + r) * g.kernel_w + s) * g.group_in;
      for (Index c = 0; c < g.group_in; ++c) sum += a[c] * b[c];
    }
  }
  if (bias != nullptr) sum += bias[k];
  if (residual.data != nullptr) sum += residual.pixel(n, p, q)[k];
  y.pixel(n, p, q)[k] = relu && sum <= 0 ? T(0) : sum;
}

template <class T>
__global__ void backward_data_kernel(Geometry g, Map<const T> dy, const T* w, Map<const T> y,
                                     Map<T> dx, Index count) {
  const Index i = thread_index();
  if (i >= count) return;
  const Index c = i % g.channels, pixel = i / g.channels;
  const Index v = pixel % dx.width, h = pixel / dx.width % dx.height,
              n = pixel / dx.width / dx.height;
  const Index group = c / g.group_in, first = group * g.group_out;
  const Index filter = g.kernel_h * g.kernel_w * g.group_in;  // elements of one output's filter
  T sum = 0;
  for (int r = 0; r < g.kernel_h; ++r) {
    const Index p = reached(h, r, g.stride_h, g.pad_h, g.dilation_h, dy.height);
    if (p < 0) continue;
    for (int s = 0; s < g.kernel_w; ++s) {
      const Index q = reached(v, s, g.stride_w, g.pad_w, g.dilation_w, dy.width);
      if (q < 0) continue;
      const T* a = dy.pixel(n, p, q) + first;
      const T* gate = y.data == nullptr ? nullptr : y.pixel(n, p, q) + first;
      const T* b = w + first * filter + (r * g.kernel_w + s) * g.group_in + c - group * g.group_in;
      for (Index k = 0; k < g.group_out; ++k)
        if (gate == nullptr || !(gate[k] <= 0)) sum += a[k] * b[k * filter];
    }
  }
  dx.pixel(n, h, v)[c] = sum;
}

template <class T>
__global__ void backward_filter_kernel(Geometry g, Map<const T> x, Map<const T> dy, Map<const T> y,
                                       Index batch, T* dw, T* dbias, Index count) {
  const Index i = thread_index();
  if (i >= count + (dbias != nullptr ? g.outputs : 0)) return;
  // The last threads sum dy alone.
  const bool bias = i >= count;
  const Index c = bias ? 0 : i % g.group_in, tap = bias ? 0 : i / g.group_in;
  const Index s = tap % g.kernel_w, r = tap / g.kernel_w % g.kernel_h;
  const Index k = bias ? i - count : tap / g.kernel_w / g.kernel_h;
  const Index first = k / g.group_out * g.group_in;
  T sum = 0;
  for (Index n = 0; n < batch; ++n) {
    for (Index p = 0; p < dy.height; ++p) {
      const Index h = p * g.stride_h - g.pad_h + r * g.dilation_h;
      if (!bias && (h < 0 || h >= x.height)) continue;
      for (Index q = 0; q < dy.width; ++q) {
        const Index v = q * g.stride_w - g.pad_w + s * g.dilation_w;
        if (!bias && (v < 0 || v >= x.width)) continue;
        if (y.data != nullptr && y.pixel(n, p, q)[k] <= 0) continue;
        const T gradient = dy.pixel(n, p, q)[k];
        sum += bias ? gradient : gradient * x.pixel(n, h, v)[first + c];
      }
    }
  }
  (bias ? dbias[k] : dw[i]) = sum;
}

// The map of an optional tensor: no data when it is not there.
template <class T>
Map<const T> optional(const Tensor& t, bool present, const Tensor& like) {
  Map<const T> map(present ? t : like);
  if (!present) map.data = nullptr;
  return map;
}

template <class T>
void forward(const Conv2dProblem& p, const Tensor& x, const Tensor& w, const Tensor& bias,
             const Tensor& residual, const Tensor& y) {
  launch(THORAX_KERNEL(forward_kernel<T>), x.device(), one_thread_each(y.numel()), Geometry(p),
         Map<const T>(x), w.device_data<T>(), bias.defined() ? bias.device_data<T>() : nullptr,
         optional<T>(residual, residual.defined(), y), p.relu, Map<T>(y), y.numel());
}

template <class T>
void backward_data(const Conv2dProblem& p, const Tensor& dy, const Tensor& w, const Tensor& y,
                   const Tensor& dx) {
  launch(THORAX_KERNEL(backward_data_kernel<T>), dx.device(), one_thread_each(dx.numel()),
         Geometry(p), Map<const T>(dy), w.device_data<T>(), optional<T>(y, p.relu, dy), Map<T>(dx),
         dx.numel());
}

template <class T>
void backward_filter(const Conv2dProblem& p, const Tensor& x, const Tensor& dy, const Tensor& y,
                     const Tensor& dw, const Tensor& dbias) {
  launch(THORAX_KERNEL(backward_filter_kernel<T>), dw.device(),
         one_thread_each(dw.numel() + (dbias.defined() ? p.out_channels : 0)), Geometry(p),
         Map<const T>(x), Map<const T>(dy), optional<T>(y, p.relu, dy), p.batch,
         dw.device_data<T>(), dbias.defined() ? dbias.device_data<T>() : nullptr, dw.numel());
}

THORAX_PROVIDER(conv2d_cuda_naive, conv2d_providers(),
                {.name = "cuda/naive",
                 .device = THORAX_GPU_KIND,
                 .priority =
                     [](const Conv2dProblem& p) {
                       return p.dtype == DType::f32 || p.dtype == DType::f64 ? 0 : -1;
                     },
                 .forward =
                     [](const Conv2dProblem& p, auto&... t) {
                       p.dtype == DType::f64 ? forward<double>(p, t...) : forward<float>(p, t...);
                     },
                 .backward_data =
                     [](const Conv2dProblem& p, auto&... t) {
                       p.dtype == DType::f64 ? backward_data<double>(p, t...)
                                             : backward_data<float>(p, t...);
                     },
                 .backward_filter =
                     [](const Conv2dProblem& p, auto&... t) {
                       p.dtype == DType::f64 ? backward_filter<double>(p, t...)
                                             : backward_filter<float>(p, t...);
                     }})

}  // namespace
}  // namespace THORAX_GPU
}  // namespace thorax
