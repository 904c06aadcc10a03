// Runs along the last axis, on several threads; the loops over consecutive elements, or over
// consecutive elements and one that is repeated, are the compiler's to vectorise.
#include "engine/runtime/parallel.h"
#include "kernels/binary/binary.h"
#include "kernels/common/strided.h"

namespace thorax {
namespace {

constexpr std::int64_t kGrain = 1 << 14;  // elements per chunk

template <class Function>
void run(const BinaryProblem& p, const Tensor& a, const Tensor& b, const Tensor& y,
         const Function& function) {
  const auto walk = broadcast_walk<3>(p.result_shape(), {&a, &b, &y});
  const float *left = a.data<float>(), *right = b.data<float>();
  float* result = y.data<float>();
  const auto [step_a, step_b, step_y] = walk.steps(walk.rank() - 1);
  parallel_for(0, walk.count(), kGrain,
               [&, sa = step_a, sb = step_b, sy = step_y](std::int64_t first, std::int64_t last) {
                 walk.for_runs(first, last, [&](const auto& at, std::int64_t, std::int64_t length) {
                   const float *u = left + at[0], *v = right + at[1];
                   float* to = result + at[2];
                   if (sa == 1 && sb == 1 && sy == 1) {
                     for (std::int64_t i = 0; i < length; ++i) to[i] = function(u[i], v[i]);
                   } else if (sa == 1 && sb == 0 && sy == 1) {
                     const float value = *v;
                     for (std::int64_t i = 0; i < length; ++i) to[i] = function(u[i], value);
                   } else if (sa == 0 && sb == 1 && sy == 1) {
                     const float value = *u;
                     for (std::int64_t i = 0; i < length; ++i) to[i] = function(value, v[i]);
                   } else {
                     for (std::int64_t i = 0; i < length; ++i)
                       to[i * sy] = function(u[i * sa], v[i * sb]);
                   }
                 });
               });
}

void forward(const BinaryProblem& p, const Tensor& a, const Tensor& b, const Tensor& y) {
  switch (p.kind) {
    case BinaryKind::add:
      return run(p, a, b, y, [](float u, float v) { return u + v; });
    case BinaryKind::sub:
      return run(p, a, b, y, [](float u, float v) { return u - v; });
    case BinaryKind::mul:
      return run(p, a, b, y, [](float u, float v) { return u * v; });
    case BinaryKind::div:
      return run(p, a, b, y, [](float u, float v) { return u / v; });
  }
}

}  // namespace

THORAX_PROVIDER(binary_cpu, binary_providers(),
                {.name = "cpu",
                 .device = DeviceKind::cpu,
                 .priority = [](const BinaryProblem& p) { return p.dtype == DType::f32 ? 10 : -1; },
                 .forward = forward});

}  // namespace thorax
