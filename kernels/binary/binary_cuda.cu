// One thread a group of 4 floats or 8 halves along the last axis, one access for each tensor; an
// operand that is repeated along it is one element, which the cache serves. Bound by memory.
#include "kernels/binary/binary.h"
#include "kernels/common/strided.cuh"

namespace thorax {
namespace THORAX_GPU {
namespace {

struct Add {
  static __device__ float apply(float a, float b) { return a + b; }
};
struct Sub {
  static __device__ float apply(float a, float b) { return a - b; }
};
struct Mul {
  static __device__ float apply(float a, float b) { return a * b; }
};
struct Div {
  static __device__ float apply(float a, float b) { return a / b; }
};

template <class F, class T, int N>
__global__ void binary_forward(DeviceWalk<3> walk, bool repeat_a, bool repeat_b, const T* a,
                               const T* b, T* y) {
  const std::int64_t i = thread_index();
  if (i >= walk.count) return;
  std::int64_t at[3];
  walk.place(i, at);
  Floats<N> u = load_or_repeat<N>(a + at[0], repeat_a);
  const Floats<N> v = load_or_repeat<N>(b + at[1], repeat_b);
#pragma unroll
  for (int k = 0; k < N; ++k) u[k] = F::apply(u[k], v[k]);
  store(y + at[2], u);
}

template <class Fn>
void with_function(BinaryKind kind, const Fn& fn) {
  switch (kind) {
    case BinaryKind::add:
      return fn(Add{});
    case BinaryKind::sub:
      return fn(Sub{});
    case BinaryKind::mul:
      return fn(Mul{});
    case BinaryKind::div:
      return fn(Div{});
  }
}

void forward(const BinaryProblem& p, const Tensor& a, const Tensor& b, const Tensor& y) {
  if (y.numel() == 0) return;
  const std::array<const Tensor*, 3> tensors{&a, &b, &y};
  const auto walk = broadcast_walk<3>(p.result_shape(), tensors);
  const auto& inner = walk.steps(walk.rank() - 1);
  dispatch_activation(p.dtype, [&](auto tag) {
    using T = decltype(tag);
    with_walk_width<T>(walk, tensors, [&](auto width) {
      constexpr int N = decltype(width)::value;
      const DeviceWalk<3> places(walk, N);
      with_function(p.kind, [&](auto function) {
        using F = decltype(function);
        launch(THORAX_KERNEL(binary_forward<F, T, N>), y.device(), one_thread_each(places.count),
               places, inner[0] == 0, inner[1] == 0, a.device_data<T>(), b.device_data<T>(),
               y.device_data<T>());
      });
    });
  });
}

}  // namespace

THORAX_PROVIDER(binary_cuda, binary_providers(),
                {.name = "cuda",
                 .device = THORAX_GPU_KIND,
                 .priority =
                     [](const BinaryProblem& p) { return is_activation_type(p.dtype) ? 10 : -1; },
                 .forward = forward});

}  // namespace THORAX_GPU
}  // namespace thorax
