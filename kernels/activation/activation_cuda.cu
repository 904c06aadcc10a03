// Elementwise functions, forward and backward: one thread a group of 4 floats or 8 halves (one
// 16-byte access each way), 2 elements or 1 where the shape or a channel slice does not allow more.
// Everything is bound by memory: 2 accesses an element forward, 3 backward.
#include "kernels/activation/activation.h"
#include "kernels/common/elementwise.cuh"
#include "kernels/common/vec.cuh"

namespace thorax {
namespace THORAX_GPU {
namespace {

struct Relu {
  // A NaN is not below zero: it stays.
  __device__ float forward(float x) const { return x < 0 ? 0.0f : x; }
  __device__ float backward(float dy, float y) const { return y <= 0 ? 0.0f : dy; }
};
struct Sigmoid {
  // exp of what is not positive: no overflow, and a tiny result keeps its digits.
  __device__ float forward(float x) const {
    const float e = expf(-fabsf(x));
    return (x < 0 ? e : 1.0f) / (1.0f + e);
  }
  __device__ float backward(float dy, float y) const { return dy * y * (1.0f - y); }
};
struct Affine {
  float a, b;
  __device__ float forward(float x) const { return a * x + b; }
  __device__ float backward(float dy, float) const { return a * dy; }
};
struct Exp {
  __device__ float forward(float x) const { return expf(x); }
  __device__ float backward(float dy, float y) const { return dy * y; }
};
struct Log {
  __device__ float forward(float x) const { return logf(x); }
  __device__ float backward(float dy, float x) const { return dy / x; }
};
struct Sqrt {
  __device__ float forward(float x) const { return sqrtf(x); }
  __device__ float backward(float dy, float y) const { return dy / (2.0f * y); }
};
struct Abs {
  __device__ float forward(float x) const { return fabsf(x); }
  __device__ float backward(float dy, float x) const {
    return x == 0 ? 0.0f : x < 0 ? -dy : x > 0 ? dy : x;
  }
};
struct Power {
  float exponent;
  static __device__ float power(float x, float exponent) {
    if (exponent == 1) return x;
    if (exponent == 2) return x * x;
    if (exponent == -1) return 1.0f / x;
    return powf(x, exponent);
  }
  __device__ float forward(float x) const { return power(x, exponent); }
  __device__ float backward(float dy, float x) const {
    return exponent == 0 ? 0.0f : dy * exponent * power(x, exponent - 1);
  }
};

template <class F, class T, int N>
__global__ void activation_forward(F function, Groups groups, Pixels<const T> x, Pixels<T> y) {
  const std::int64_t i = thread_index();
  if (i >= groups.count) return;
  std::int64_t group;
  const std::int64_t pixel = groups.pixel(i, group);
  Floats<N> v = load<N>(x.at(pixel, group * N));
#pragma unroll
  for (int k = 0; k < N; ++k) v[k] = function.forward(v[k]);
  store(y.at(pixel, group * N), v);
}

template <class F, class T, int N>
__global__ void activation_backward(F function, Groups groups, Pixels<const T> dy,
                                    Pixels<const T> y, Pixels<T> dx) {
  const std::int64_t i = thread_index();
  if (i >= groups.count) return;
  std::int64_t group;
  const std::int64_t pixel = groups.pixel(i, group);
  Floats<N> v = load<N>(dy.at(pixel, group * N));
  const Floats<N> result = load<N>(y.at(pixel, group * N));
#pragma unroll
  for (int k = 0; k < N; ++k) v[k] = function.backward(v[k], result[k]);
  store(dx.at(pixel, group * N), v);
}

template <class Fn>
void with_function(const ActivationProblem& p, const Fn& fn) {
  switch (p.kind) {
    case ActivationKind::relu:
      return fn(Relu{});
    case ActivationKind::sigmoid:
      return fn(Sigmoid{});
    case ActivationKind::affine:
      return fn(Affine{static_cast<float>(p.a), static_cast<float>(p.b)});
    case ActivationKind::exp:
      return fn(Exp{});
    case ActivationKind::log:
      return fn(Log{});
    case ActivationKind::sqrt:
      return fn(Sqrt{});
    case ActivationKind::abs:
      return fn(Abs{});
    case ActivationKind::power:
      return fn(Power{static_cast<float>(p.a)});
  }
}

void forward(const ActivationProblem& pr, const Tensor& x, const Tensor& y) {
  if (pr.shape.numel() == 0) return;
  const Matrix m{&x, &y};
  dispatch_activation(pr.dtype, [&](auto tag) {
    using T = decltype(tag);
    with_width<T>(m.pixels, m.channels, {&x, &y}, [&](auto width) {
      constexpr int N = decltype(width)::value;
      const Groups groups(m.pixels, m.channels, N);
      with_function(pr, [&](auto function) {
        using F = decltype(function);
        launch(THORAX_KERNEL(activation_forward<F, T, N>), x.device(),
               one_thread_each(groups.count), function, groups, Pixels<const T>(x), Pixels<T>(y));
      });
    });
  });
}

void backward(const ActivationProblem& pr, const Tensor& dy, const Tensor& y, const Tensor& dx) {
  if (pr.shape.numel() == 0) return;
  const Matrix m{&dy, &y, &dx};
  dispatch_activation(pr.dtype, [&](auto tag) {
    using T = decltype(tag);
    with_width<T>(m.pixels, m.channels, {&dy, &y, &dx}, [&](auto width) {
      constexpr int N = decltype(width)::value;
      const Groups groups(m.pixels, m.channels, N);
      with_function(pr, [&](auto function) {
        using F = decltype(function);
        launch(THORAX_KERNEL(activation_backward<F, T, N>), dy.device(),
               one_thread_each(groups.count), function, groups, Pixels<const T>(dy),
               Pixels<const T>(y), Pixels<T>(dx));
      });
    });
  });
}

}  // namespace

THORAX_PROVIDER(
    activation_cuda, activation_providers(),
    {.name = "cuda",
     .device = THORAX_GPU_KIND,
     .priority = [](const ActivationProblem& p) { return is_activation_type(p.dtype) ? 10 : -1; },
     .forward = forward,
     .backward = backward});

}  // namespace THORAX_GPU
}  // namespace thorax
