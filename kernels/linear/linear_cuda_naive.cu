// The fully connected layer on a GPU, first rung: one thread per element of the result, nothing
// shared.
//
//   forward           thread = y[n,k], sums over inputs
//   data gradient     thread = dx[n,c], sums over outputs
//   weight gradient   thread = dw[k,c], sums over rows; one thread more per k for dbias
//
// Consecutive threads take consecutive elements of the result. float32, float64, and float16 and
// bfloat16 with float32 sums.
#include "kernels/common/naive.cuh"
#include "kernels/linear/linear.h"

namespace thorax {
namespace THORAX_GPU {
namespace {

// Rows may be further apart than they are long; data is nullptr for an absent matrix.
template <class T>
struct Rows {
  T* data = nullptr;
  Index stride = 0;
  Rows() = default;
  explicit Rows(const Tensor& t)
      : data(t.device_data<std::remove_const_t<T>>()), stride(t.pixel_stride()) {}
  __device__ T* row(Index n) const { return data + n * stride; }
};

// dy[n][k], 0 where the ReLU stopped the value (a NaN lets pass).
template <class T>
__device__ SumOf<T> gradient(Rows<const T> dy, Rows<const T> y, Index n, Index k) {
  return y.data != nullptr && value(y.row(n)[k]) <= 0 ? SumOf<T>(0) : value(dy.row(n)[k]);
}

template <class T>
__global__ void linear_forward(Rows<const T> x, const T* w, const SumOf<T>* bias, bool relu,
                               Rows<T> y, Index in, Index out, Index count) {
  const Index i = thread_index();
  if (i >= count) return;
  const Index n = i / out, k = i % out;
  SumOf<T> sum = bias != nullptr ? bias[k] : 0;
  for (Index c = 0; c < in; ++c) sum += value(x.row(n)[c]) * value(w[k * in + c]);
  y.row(n)[k] = convert<T>(relu && sum <= 0 ? SumOf<T>(0) : sum);
}

template <class T>
__global__ void linear_backward_data(Rows<const T> dy, Rows<const T> y, const T* w, Rows<T> dx,
                                     Index in, Index out, Index count) {
  const Index i = thread_index();
  if (i >= count) return;
  const Index n = i / in, c = i % in;
  SumOf<T> sum = 0;
  for (Index k = 0; k < out; ++k) sum += gradient(dy, y, n, k) * value(w[k * in + c]);
  dx.row(n)[c] = convert<T>(sum);
}

template <class T>
__global__ void linear_backward_weight(Rows<const T> x, Rows<const T> dy, Rows<const T> y,
                                       Index rows, SumOf<T>* dw, SumOf<T>* dbias, Index in,
                                       Index out) {
  const Index i = thread_index(), weights = in * out;
  if (i >= weights + (dbias != nullptr ? out : 0)) return;
  // The last threads sum dy alone.
  const bool bias = i >= weights;
  const Index k = bias ? i - weights : i / in, c = bias ? 0 : i % in;
  SumOf<T> sum = 0;
  for (Index n = 0; n < rows; ++n)
    sum += gradient(dy, y, n, k) * (bias ? SumOf<T>(1) : value(x.row(n)[c]));
  (bias ? dbias[k] : dw[i]) = sum;
}

template <class T>
void forward(const LinearProblem& p, const Tensor& x, const Tensor& w, const Tensor& bias,
             const Tensor& y) {
  launch(THORAX_KERNEL(linear_forward<T>), y.device(), one_thread_each(y.numel()), Rows<const T>(x),
         w.device_data<T>(), bias.defined() ? bias.device_data<SumOf<T>>() : nullptr, p.relu,
         Rows<T>(y), p.in_features, p.out_features, y.numel());
}

template <class T>
void backward_data(const LinearProblem& p, const Tensor& dy, const Tensor& w, const Tensor& y,
                   const Tensor& dx) {
  launch(THORAX_KERNEL(linear_backward_data<T>), dx.device(), one_thread_each(dx.numel()),
         Rows<const T>(dy), p.relu ? Rows<const T>(y) : Rows<const T>(), w.device_data<T>(),
         Rows<T>(dx), p.in_features, p.out_features, dx.numel());
}

template <class T>
void backward_weight(const LinearProblem& p, const Tensor& x, const Tensor& dy, const Tensor& y,
                     const Tensor& dw, const Tensor& dbias) {
  using S = SumOf<T>;
  launch(THORAX_KERNEL(linear_backward_weight<T>), dw.device(),
         one_thread_each(dw.numel() + (dbias.defined() ? p.out_features : 0)), Rows<const T>(x),
         Rows<const T>(dy), p.relu ? Rows<const T>(y) : Rows<const T>(), p.rows,
         dw.device_data<S>(), dbias.defined() ? dbias.device_data<S>() : nullptr, p.in_features,
         p.out_features);
}

THORAX_PROVIDER(linear_cuda_naive, linear_providers(),
                {.name = "cuda/naive",
                 .device = THORAX_GPU_KIND,
                 .priority = [](const LinearProblem& p) { return naive_runs(p.dtype) ? 0 : -1; },
                 .forward =
                     [](const LinearProblem& p, auto&... t) {
                       dispatch_naive(p.dtype, [&](auto tag) { forward<decltype(tag)>(p, t...); });
                     },
                 .backward_data =
                     [](const LinearProblem& p, auto&... t) {
                       dispatch_naive(p.dtype,
                                      [&](auto tag) { backward_data<decltype(tag)>(p, t...); });
                     },
                 .backward_weight =
                     [](const LinearProblem& p, auto&... t) {
                       dispatch_naive(p.dtype,
                                      [&](auto tag) { backward_weight<decltype(tag)>(p, t...); });
                     }})

}  // namespace
}  // namespace THORAX_GPU
}  // namespace thorax
