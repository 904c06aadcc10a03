// Transposed convolution on a GPU, first rung: one thread per element of the result, nothing
// shared.
//
//   forward         thread = y[n,p,q,k], sums over the pixels of x that reach it and their channels
//   data gradient   thread = dx[n,h,w,c], sums over taps and output channels
//   filter gradient thread = dw[c,r,s,k], sums over pixels of x; one thread more per k for dbias
//
// Consecutive threads take consecutive channels of the result. It does any problem: groups,
// dilation, output padding and strides of all kinds, more than 2^31 elements; float32, float64, and
// float16 and bfloat16 with float32 sums.
#include "kernels/common/naive_convolution.cuh"
#include "kernels/conv_transpose2d/conv_transpose2d.h"

namespace thorax {
namespace THORAX_GPU {
namespace {

template <class T>
__global__ void forward_kernel(Geometry g, Map<const T> x, const T* w, const SumOf<T>* bias,
                               Map<T> y, Index count) {
  const Index i = thread_index();
  if (i >= count) return;
  const Index k = i % g.outputs, pixel = i / g.outputs;
  const Index q = pixel % y.width, p = pixel / y.width % y.height, n = pixel / y.width / y.height;
  const Index group = k / g.group_out, first = group * g.group_in;
  const Index filter = g.kernel_h * g.kernel_w * g.group_out;  // elements of one input's filter
  SumOf<T> sum = 0;
  for (int r = 0; r < g.kernel_h; ++r) {
    const Index h = reached(p, r, g.stride_h, g.pad_h, g.dilation_h, x.height);
    if (h < 0) continue;
    for (int s = 0; s < g.kernel_w; ++s) {
      const Index v = reached(q, s, g.stride_w, g.pad_w, g.dilation_w, x.width);
      if (v < 0) continue;
      const T* a = x.pixel(n, h, v) + first;
      const T* b = w + first * filter + (r * g.kernel_w + s) * g.group_out + k % g.group_out;
      for (Index c = 0; c < g.group_in; ++c) sum += value(a[c]) * value(b[c * filter]);
    }
  }
  y.pixel(n, p, q)[k] = convert<T>(bias != nullptr ? sum + bias[k] : sum);
}

template <class T>
__global__ void backward_data_kernel(Geometry g, Map<const T> dy, const T* w, Map<T> dx,
                                     Index count) {
  const Index i = thread_index();
  if (i >= count) return;
  const Index c = i % g.channels, pixel = i / g.channels;
  const Index v = pixel % dx.width, h = pixel / dx.width % dx.height,
              n = pixel / dx.width / dx.height;
  const Index first = c / g.group_in * g.group_out;
  SumOf<T> sum = 0;
  for (int r = 0; r < g.kernel_h; ++r) {
    const Index p = h * g.stride_h - g.pad_h + r * g.dilation_h;
    if (p < 0 || p >= dy.height) continue;
    for (int s = 0; s < g.kernel_w; ++s) {
      const Index q = v * g.stride_w - g.pad_w + s * g.dilation_w;
      if (q < 0 || q >= dy.width) continue;
      const T* a = dy.pixel(n, p, q) + first;
      const T* b = w + ((c * g.kernel_h + r) * g.kernel_w + s) * g.group_out;
      for (Index k = 0; k < g.group_out; ++k) sum += value(a[k]) * value(b[k]);
    }
  }
  dx.pixel(n, h, v)[c] = convert<T>(sum);
}

template <class T>
__global__ void backward_filter_kernel(Geometry g, Map<const T> x, Map<const T> dy, Index batch,
                                       SumOf<T>* dw, Index count) {
  const Index i = thread_index();
  if (i >= count) return;
  const Index k = i % g.group_out, tap = i / g.group_out;
  const Index s = tap % g.kernel_w, r = tap / g.kernel_w % g.kernel_h;
  const Index c = tap / g.kernel_w / g.kernel_h;
  const Index first = c / g.group_in * g.group_out;
  SumOf<T> sum = 0;
  for (Index n = 0; n < batch; ++n) {
    for (Index h = 0; h < x.height; ++h) {
      const Index p = h * g.stride_h - g.pad_h + r * g.dilation_h;
      if (p < 0 || p >= dy.height) continue;
      for (Index v = 0; v < x.width; ++v) {
        const Index q = v * g.stride_w - g.pad_w + s * g.dilation_w;
        if (q >= 0 && q < dy.width)
          sum += value(x.pixel(n, h, v)[c]) * value(dy.pixel(n, p, q)[first + k]);
      }
    }
  }
  dw[i] = sum;
}

template <class T>
__global__ void bias_gradient_kernel(Map<const T> dy, Index pixels, SumOf<T>* dbias, Index count) {
  const Index k = thread_index();
  if (k >= count) return;
  SumOf<T> sum = 0;
  for (Index i = 0; i < pixels; ++i) sum += value(dy.data[i * dy.stride + k]);
  dbias[k] = sum;
}

template <class T>
void forward(const ConvTranspose2dProblem& p, const Tensor& x, const Tensor& w, const Tensor& bias,
             const Tensor& y) {
  launch(THORAX_KERNEL(forward_kernel<T>), y.device(), one_thread_each(y.numel()), Geometry(p),
         Map<const T>(x), w.device_data<T>(),
         bias.defined() ? bias.device_data<SumOf<T>>() : nullptr, Map<T>(y), y.numel());
}

template <class T>
void backward_data(const ConvTranspose2dProblem& p, const Tensor& dy, const Tensor& w,
                   const Tensor& dx) {
  launch(THORAX_KERNEL(backward_data_kernel<T>), dx.device(), one_thread_each(dx.numel()),
         Geometry(p), Map<const T>(dy), w.device_data<T>(), Map<T>(dx), dx.numel());
}

template <class T>
void backward_filter(const ConvTranspose2dProblem& p, const Tensor& x, const Tensor& dy,
                     const Tensor& dw, const Tensor& dbias) {
  launch(THORAX_KERNEL(backward_filter_kernel<T>), dw.device(), one_thread_each(dw.numel()),
         Geometry(p), Map<const T>(x), Map<const T>(dy), p.batch, dw.device_data<SumOf<T>>(),
         dw.numel());
  if (dbias.defined())
    launch(THORAX_KERNEL(bias_gradient_kernel<T>), dw.device(), one_thread_each(p.out_channels),
           Map<const T>(dy), dy.pixels(), dbias.device_data<SumOf<T>>(), p.out_channels);
}

THORAX_PROVIDER(
    conv_transpose2d_cuda_naive, conv_transpose2d_providers(),
    {.name = "cuda/naive",
     .device = THORAX_GPU_KIND,
     .priority = [](const ConvTranspose2dProblem& p) { return naive_runs(p.dtype) ? 0 : -1; },
     .forward =
         [](const ConvTranspose2dProblem& p, auto&... t) {
           dispatch_naive(p.dtype, [&](auto tag) { forward<decltype(tag)>(p, t...); });
         },
     .backward_data =
         [](const ConvTranspose2dProblem& p, auto&... t) {
           dispatch_naive(p.dtype, [&](auto tag) { backward_data<decltype(tag)>(p, t...); });
         },
     .backward_filter =
         [](const ConvTranspose2dProblem& p, auto&... t) {
           dispatch_naive(p.dtype, [&](auto tag) { backward_filter<decltype(tag)>(p, t...); });
         }})

}  // namespace
}  // namespace THORAX_GPU
}  // namespace thorax
