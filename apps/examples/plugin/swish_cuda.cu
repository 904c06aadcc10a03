// The same on a GPU, or on the simulated one: a thread an element.
#include "engine/runtime/launch.cuh"
#include "kernels/common/elementwise.cuh"
#include "swish.h"

namespace thorax {
namespace THORAX_GPU {  // this file may be compiled twice: by nvcc and for the simulator
namespace {

__device__ float sigmoid(float x) {
  return 1 / (1 + expf(-x));
}

__global__ void swish_forward(std::int64_t count, const float* x, float* y) {
  const std::int64_t i = thread_index();
  if (i < count) y[i] = x[i] * sigmoid(x[i]);
}

__global__ void swish_backward(std::int64_t count, const float* dy, const float* x, float* dx) {
  const std::int64_t i = thread_index();
  if (i >= count) return;
  const float s = sigmoid(x[i]);
  dx[i] = dy[i] * (s + x[i] * s * (1 - s));
}

void forward(const SwishProblem& problem, const Tensor& x, const Tensor& y) {
  const std::int64_t count = problem.shape.numel();
  launch(THORAX_KERNEL(swish_forward), x.device(), one_thread_each(count), count,
         x.device_data<float>(), y.device_data<float>());
}

void backward(const SwishProblem& problem, const Tensor& dy, const Tensor& x, const Tensor& dx) {
  const std::int64_t count = problem.shape.numel();
  launch(THORAX_KERNEL(swish_backward), dy.device(), one_thread_each(count), count,
         dy.device_data<float>(), x.device_data<float>(), dx.device_data<float>());
}

}  // namespace

THORAX_PROVIDER(swish_cuda, swish_providers(),
                {.name = "cuda",
                 .device = THORAX_GPU_KIND,
                 .priority = [](const SwishProblem& p) { return p.dtype == DType::f32 ? 0 : -1; },
                 .forward = forward,
                 .backward = backward});

}  // namespace THORAX_GPU
}  // namespace thorax
