// Eight elements at a time; block sums in float lanes, then double, chunks combined in order.
#include <vector>

#include "engine/runtime/parallel.h"
#include "kernels/common/elements.h"
#include "kernels/common/vector_math.h"
#include "kernels/cross_entropy/cross_entropy.h"

namespace thorax {
namespace {

using simd::Floats;

constexpr std::int64_t kBlock = 256;
constexpr std::int64_t kChunk = 64 * kBlock;

int vector_length(std::int64_t left) {
  return static_cast<int>(std::min<std::int64_t>(8, left));
}

// Without kWeighted the weights are not looked at, and the code is that of the plain mean.
template <bool kWeighted>
void forward_as(const BceProblem& p, const Tensor& logits, const Tensor& target,
                const Tensor& element_weight, const Tensor& loss) {
  const Elements<float> x(logits), u_values(kWeighted ? element_weight : logits);
  const TargetElements<float> t(target);
  const std::int64_t count = p.shape.numel();
  const auto weight = static_cast<float>(p.pos_weight);
  std::vector<double> partial(static_cast<std::size_t>((count + kChunk - 1) / kChunk));
  parallel_for(0, count, kChunk, [&](std::int64_t begin, std::int64_t end) {
    float x_buffer[kBlock], t_buffer[kBlock];
    [[maybe_unused]] float u_buffer[kBlock];
    double total = 0;
    for (std::int64_t first = begin; first < end; first += kBlock) {
      const std::int64_t length = std::min(kBlock, end - first);
      const float* a = x.read(first, length, x_buffer);
      const float* b = t.read(first, length, t_buffer);
      [[maybe_unused]] const float* c =
          kWeighted ? u_values.read(first, length, u_buffer) : nullptr;
      Floats sum = {};
      for (std::int64_t i = 0; i < length; i += 8) {
        const int n = vector_length(length - i);
        const Floats v = simd::load_first<8>(a + i, n), u = simd::load_first<8>(b + i, n);
        // softplus(x) and softplus(-x) differ in what is added to this positive term.
        const Floats common = simd::log1p_unit(simd::exp(-simd::abs(v)));
        Floats l = (1.0f - u) * (common + simd::max(v, Floats{})) +
                   weight * u * (common + simd::max(-v, Floats{}));
        if constexpr (kWeighted) l = l * simd::load_first<8>(c + i, n);
        if (n < 8) l = simd::keep_first(l, n);
        sum += l;
      }
      total += simd::sum_lanes(sum);
    }
    partial[static_cast<std::size_t>(begin / kChunk)] = total;
  });
  double sum = 0;
  for (const double value : partial) sum += value;
  loss.data<float>()[0] = static_cast<float>(kWeighted ? sum : sum / static_cast<double>(count));
}

template <bool kWeighted>
void backward_as(const BceProblem& p, const Tensor& dloss, const Tensor& logits,
                 const Tensor& target, const Tensor& element_weight, const Tensor& dlogits) {
  const Elements<float> x(logits), out(dlogits), u_values(kWeighted ? element_weight : logits);
  const TargetElements<float> t(target);
  const auto positive = static_cast<float>(p.pos_weight);
  const auto weight = static_cast<float>(
      kWeighted ? dloss.item() : dloss.item() / static_cast<double>(p.shape.numel()));
  parallel_for(0, p.shape.numel(), kChunk, [&](std::int64_t begin, std::int64_t end) {
    float x_buffer[kBlock], t_buffer[kBlock], out_buffer[kBlock];
    [[maybe_unused]] float u_buffer[kBlock];
    for (std::int64_t first = begin; first < end; first += kBlock) {
      const std::int64_t length = std::min(kBlock, end - first);
      const float* a = x.read(first, length, x_buffer);
      const float* b = t.read(first, length, t_buffer);
      [[maybe_unused]] const float* c =
          kWeighted ? u_values.read(first, length, u_buffer) : nullptr;
      float* to = out.target(first, out_buffer);
      for (std::int64_t i = 0; i < length; i += 8) {
        const int n = vector_length(length - i);
        const Floats u = simd::load_first<8>(b + i, n);
        const simd::Sigmoid s = simd::sigmoid(simd::load_first<8>(a + i, n));
        Floats slope = (1.0f - u) * s.value - positive * u * s.rest;
        if constexpr (kWeighted) slope = slope * simd::load_first<8>(c + i, n);
        simd::store_first<8>(to + i, weight * slope, n);
      }
      out.commit(first, length, out_buffer);
    }
  });
}

void forward(const BceProblem& p, const Tensor& logits, const Tensor& target, const Tensor& weight,
             const Tensor& loss) {
  p.weighted ? forward_as<true>(p, logits, target, weight, loss)
             : forward_as<false>(p, logits, target, weight, loss);
}

void backward(const BceProblem& p, const Tensor& dloss, const Tensor& logits, const Tensor& target,
              const Tensor& weight, const Tensor& dlogits) {
  p.weighted ? backward_as<true>(p, dloss, logits, target, weight, dlogits)
             : backward_as<false>(p, dloss, logits, target, weight, dlogits);
}

}  // namespace

THORAX_PROVIDER(bce_with_logits_cpu, bce_with_logits_providers(),
                {.name = "cpu",
                 .device = DeviceKind::cpu,
                 .priority = [](const BceProblem& p) { return p.dtype == DType::f32 ? 10 : -1; },
                 .forward = forward,
                 .backward = backward});

}  // namespace thorax
