// One pass forward, one backward. Sums: eight float lanes over a block of 256 elements, blocks in
// double, chunks of a fixed size combined in order.
#include <vector>

#include "engine/runtime/parallel.h"
#include "kernels/common/elements.h"
#include "kernels/common/vector_math.h"
#include "kernels/dice_loss/dice_loss.h"

namespace thorax {
namespace {

using simd::Floats;

constexpr std::int64_t kBlock = 256;
constexpr std::int64_t kChunk = 64 * kBlock;

int vector_length(std::int64_t left) {
  return static_cast<int>(std::min<std::int64_t>(8, left));
}

template <bool kSquared>
DiceSums block_sums(const float* x, const float* g, std::int64_t length) {
  Floats overlap = {}, prediction = {}, target = {};
  for (std::int64_t i = 0; i < length; i += 8) {
    const int n = vector_length(length - i);
    Floats p = simd::sigmoid(simd::load_first<8>(x + i, n)).value;
    if (n < 8) p = simd::keep_first(p, n);
    const Floats t = simd::load_first<8>(g + i, n);
    overlap += p * t;
    prediction += kSquared ? p * p : p;
    target += kSquared ? t * t : t;
  }
  return {simd::sum_lanes(overlap), simd::sum_lanes(prediction), simd::sum_lanes(target)};
}

void forward(const DiceProblem& p, const Tensor& logits, const Tensor& target, const Tensor& sums,
             const Tensor& loss) {
  const Elements<float> x(logits);
  const TargetElements<float> g(target);
  const std::int64_t size = p.group_size();
  const std::int64_t chunks = (size + kChunk - 1) / kChunk;  // per group
  std::vector<DiceSums> partial(static_cast<std::size_t>(p.groups() * chunks));
  parallel_for(0, p.groups() * chunks, 1, [&](std::int64_t first_chunk, std::int64_t last_chunk) {
    float x_buffer[kBlock], g_buffer[kBlock];
    for (std::int64_t chunk = first_chunk; chunk < last_chunk; ++chunk) {
      const std::int64_t start = chunk / chunks * size, begin = start + chunk % chunks * kChunk;
      const std::int64_t end = std::min(begin + kChunk, start + size);
      DiceSums total{};
      for (std::int64_t first = begin; first < end; first += kBlock) {
        const std::int64_t length = std::min(kBlock, end - first);
        const float* a = x.read(first, length, x_buffer);
        const float* b = g.read(first, length, g_buffer);
        const DiceSums s =
            p.squared ? block_sums<true>(a, b, length) : block_sums<false>(a, b, length);
        total.overlap += s.overlap;
        total.prediction += s.prediction;
        total.target += s.target;
      }
      partial[static_cast<std::size_t>(chunk)] = total;
    }
  });
  double losses = 0;
  for (std::int64_t group = 0; group < p.groups(); ++group) {
    DiceSums total{};
    for (std::int64_t c = 0; c < chunks; ++c) {
      const DiceSums& s = partial[static_cast<std::size_t>(group * chunks + c)];
      total.overlap += s.overlap;
      total.prediction += s.prediction;
      total.target += s.target;
    }
    double* saved = sums.data<double>() + 3 * group;
    saved[0] = total.overlap;
    saved[1] = total.prediction;
    saved[2] = total.target;
    losses += 1 - total.dice(p.epsilon);
  }
  loss.data<float>()[0] = static_cast<float>(losses / static_cast<double>(p.groups()));
}

// dx = (target_slope * g + own_slope * (squared ? p : 1)) * p * (1 - p)
template <bool kSquared>
void block_gradient(const float* x, const float* g, float* dx, std::int64_t length,
                    float target_slope, float own_slope) {
  for (std::int64_t i = 0; i < length; i += 8) {
    const int n = vector_length(length - i);
    const simd::Sigmoid p = simd::sigmoid(simd::load_first<8>(x + i, n));
    const Floats own = kSquared ? own_slope * p.value : simd::splat(own_slope);
    const Floats slope = target_slope * simd::load_first<8>(g + i, n) + own;
    simd::store_first<8>(dx + i, slope * (p.value * p.rest), n);
  }
}

void backward(const DiceProblem& p, const Tensor& dloss, const Tensor& logits, const Tensor& target,
              const Tensor& sums, const Tensor& dlogits) {
  const Elements<float> x(logits), out(dlogits);
  const TargetElements<float> g(target);
  const double share = dloss.item() / static_cast<double>(p.groups());
  const std::int64_t size = p.group_size();
  const std::int64_t chunks = (size + kChunk - 1) / kChunk;
  parallel_for(0, p.groups() * chunks, 1, [&](std::int64_t first_chunk, std::int64_t last_chunk) {
    float x_buffer[kBlock], g_buffer[kBlock], out_buffer[kBlock];
    for (std::int64_t chunk = first_chunk; chunk < last_chunk; ++chunk) {
      const std::int64_t group = chunk / chunks;
      const std::int64_t begin = group * size + chunk % chunks * kChunk;
      const std::int64_t end = std::min(begin + kChunk, (group + 1) * size);
      const double* saved = sums.data<double>() + 3 * group;
      const DiceSums s{saved[0], saved[1], saved[2]};
      const double denominator = s.prediction + s.target + p.epsilon;
      const double weight = -share / denominator;
      const auto target_slope = static_cast<float>(2 * weight);
      const auto own_slope =
          static_cast<float>(-(p.squared ? 2.0 : 1.0) * weight * s.dice(p.epsilon));
      for (std::int64_t first = begin; first < end; first += kBlock) {
        const std::int64_t length = std::min(kBlock, end - first);
        const float* a = x.read(first, length, x_buffer);
        const float* b = g.read(first, length, g_buffer);
        float* to = out.target(first, out_buffer);
        if (p.squared)
          block_gradient<true>(a, b, to, length, target_slope, own_slope);
        else
          block_gradient<false>(a, b, to, length, target_slope, own_slope);
        out.commit(first, length, out_buffer);
      }
    }
  });
}

}  // namespace

THORAX_PROVIDER(dice_loss_cpu, dice_loss_providers(),
                {.name = "cpu",
                 .device = DeviceKind::cpu,
                 .priority = [](const DiceProblem& p) { return p.dtype == DType::f32 ? 10 : -1; },
                 .forward = forward,
                 .backward = backward});

}  // namespace thorax
