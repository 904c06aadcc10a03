// The definition, on all cores.
#include <cmath>

#include "engine/runtime/parallel.h"
#include "swish.h"

using namespace thorax;

namespace {

constexpr std::int64_t kChunk = 1 << 12;  // elements; fixed, so that threads change no bit

float sigmoid(float x) {
  return 1 / (1 + std::exp(-x));
}

void forward(const SwishProblem& problem, const Tensor& x, const Tensor& y) {
  const float* from = x.data<float>();
  float* to = y.data<float>();
  parallel_for(0, problem.shape.numel(), kChunk, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) to[i] = from[i] * sigmoid(from[i]);
  });
}

void backward(const SwishProblem& problem, const Tensor& dy, const Tensor& x, const Tensor& dx) {
  const float *g = dy.data<float>(), *from = x.data<float>();
  float* to = dx.data<float>();
  parallel_for(0, problem.shape.numel(), kChunk, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const float s = sigmoid(from[i]);
      to[i] = g[i] * (s + from[i] * s * (1 - s));
    }
  });
}

}  // namespace

THORAX_PROVIDER(swish_cpu, swish_providers(),
                {.name = "cpu",
                 .device = DeviceKind::cpu,
                 .priority = [](const SwishProblem& p) { return p.dtype == DType::f32 ? 0 : -1; },
                 .forward = forward,
                 .backward = backward});
