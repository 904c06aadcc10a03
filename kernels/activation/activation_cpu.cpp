// Eight floats at a time, in chunks of a fixed size.
#include <cmath>

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

using simd::Floats;

// function(lane) for each of the eight: the C library's, where there is no vector version.
template <class Function>
Floats each_lane(Floats v, const Function& function) {
  for (int i = 0; i < 8; ++i) v[i] = function(v[i]);
  return v;
}

Floats power(Floats v, float exponent) {
  if (exponent == 1) return v;
  if (exponent == 2) return v * v;
  if (exponent == -1) return 1.0f / v;
  return each_lane(v, [=](float x) { return std::pow(x, exponent); });
}

void forward(const ActivationProblem& p, const Tensor& x, const Tensor& y) {
  const std::int64_t count = p.shape.numel();
  const float a = static_cast<float>(p.a), b = static_cast<float>(p.b);
  switch (p.kind) {
    case ActivationKind::relu:
      return apply(count, x, x, y, [](Floats v, Floats) { return v < 0.0f ? Floats{} : v; });
    case ActivationKind::sigmoid:
      return apply(count, x, x, y, [](Floats v, Floats) { return simd::sigmoid(v).value; });
    case ActivationKind::affine:
      return apply(count, x, x, y, [=](Floats v, Floats) { return a * v + b; });
    case ActivationKind::exp:
      return apply(count, x, x, y, [](Floats v, Floats) { return simd::exp(v); });
    case ActivationKind::log:
      return apply(count, x, x, y, [](Floats v, Floats) {
        return each_lane(v, [](float e) { return std::log(e); });
      });
    case ActivationKind::sqrt:
      return apply(count, x, x, y, [](Floats v, Floats) { return simd::sqrt(v); });
    case ActivationKind::abs:
      return apply(count, x, x, y, [](Floats v, Floats) { return simd::abs(v); });
    case ActivationKind::power:
      return apply(count, x, x, y, [=](Floats v, Floats) { return power(v, a); });
  }
}

void backward(const ActivationProblem& p, const Tensor& dy, const Tensor& saved, const Tensor& dx) {
  const std::int64_t count = p.shape.numel();
  const float a = static_cast<float>(p.a);
  switch (p.kind) {
    case ActivationKind::relu:
      return apply(count, dy, saved, dx,
                   [](Floats g, Floats v) { return v <= 0.0f ? Floats{} : g; });
    case ActivationKind::sigmoid:
      return apply(count, dy, saved, dx, [](Floats g, Floats v) { return g * v * (1.0f - v); });
    case ActivationKind::affine:
      return apply(count, dy, dy, dx, [=](Floats g, Floats) { return a * g; });
    case ActivationKind::exp:
      return apply(count, dy, saved, dx, [](Floats g, Floats v) { return g * v; });
    case ActivationKind::log:
      return apply(count, dy, saved, dx, [](Floats g, Floats v) { return g / v; });
    case ActivationKind::sqrt:
      return apply(count, dy, saved, dx, [](Floats g, Floats v) { return g / (2.0f * v); });
    case ActivationKind::abs:
      return apply(count, dy, saved, dx, [](Floats g, Floats v) {
        return v == 0.0f ? Floats{} : v < 0.0f ? -g : v > 0.0f ? g : v;
      });
    case ActivationKind::power:
      return apply(count, dy, saved, dx,
                   [=](Floats g, Floats v) { return a == 0 ? Floats{} : g * a * power(v, a - 1); });
  }
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
