// Eight floats at a time, in chunks of a fixed size.
#include "engine/runtime/parallel.h"
#include "kernels/activation/activation.h"
#include "kernels/common/elements.h"
#include "kernels/common/vector_math.h"

namespace thorax {
namespace {

constexpr std::int64_t kGrain = 1 << 14;  // elements per chunk
constexpr std::int64_t kBlock = 256;      // elements gathered at a time from a channel slice

// out[i] = function(a[i], b[i]) for every element.
template <class Function>
void apply(std::int64_t count, const Tensor& a, const Tensor& b, const Tensor& out,
           const Function& function) {
  const Elements<float> left(a), right(b), result(out);
  parallel_for(0, count, kGrain, [&](std::int64_t begin, std::int64_t end) {
    float a_buffer[kBlock], b_buffer[kBlock], out_buffer[kBlock];
    for (std::int64_t first = begin; first < end; first += kBlock) {
      const std::int64_t length = std::min(kBlock, end - first);
      const float* u = left.read(first, length, a_buffer);
      const float* v = right.read(first, length, b_buffer);
      float* to = result.target(first, out_buffer);
      for (std::int64_t i = 0; i < length; i += 8) {
        const int n = static_cast<int>(std::min<std::int64_t>(8, length - i));
        simd::store_first<8>(
            to + i, function(simd::load_first<8>(u + i, n), simd::load_first<8>(v + i, n)), n);
      }
      result.commit(first, length, out_buffer);
    }
  });
}

void forward(const ActivationProblem& p, const Tensor& x, const Tensor& y) {
  using simd::Floats;
  if (p.kind == ActivationKind::relu)
    apply(p.shape.numel(), x, x, y, [](Floats v, Floats) { return v < 0.0f ? Floats{} : v; });
  else
    apply(p.shape.numel(), x, x, y, [](Floats v, Floats) { return simd::sigmoid(v).value; });
}

void backward(const ActivationProblem& p, const Tensor& dy, const Tensor& y, const Tensor& dx) {
  using simd::Floats;
  if (p.kind == ActivationKind::relu)
    apply(p.shape.numel(), dy, y, dx, [](Floats g, Floats v) { return v <= 0.0f ? Floats{} : g; });
  else
    apply(p.shape.numel(), dy, y, dx, [](Floats g, Floats v) { return g * v * (1.0f - v); });
}

}  // namespace

THORAX_PROVIDER(activation_cpu, activation_providers(),
                {.name = "cpu",
                 .device = DeviceKind::cpu,
                 .priority =
                     [](const ActivationProblem& p) { return p.dtype == DType::f32 ? 10 : -1; },
                 .forward = forward,
                 .backward = backward});

}  // namespace thorax
