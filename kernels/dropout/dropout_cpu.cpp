// Philox on eight counters at a time: plain loops over lanes that the compiler turns into vectors.
#include "engine/runtime/parallel.h"
#include "kernels/common/elements.h"
#include "kernels/dropout/dropout.h"

namespace thorax {
namespace {

constexpr int kLanes = 8;
constexpr std::int64_t kBlock = 4 * kLanes;  // words per call
constexpr std::int64_t kGrain = 256 * kBlock;

// Words [first, first + kBlock) of the sequence; first is a multiple of 4. Same rounds as
// philox4x32.
void philox_block(std::uint64_t seed, std::uint64_t stream, std::uint64_t first,
                  std::uint32_t* words) {
  std::uint64_t c0[kLanes], c1[kLanes], c2[kLanes], c3[kLanes];
  for (int l = 0; l < kLanes; ++l) {
    const std::uint64_t index = first / 4 + static_cast<std::uint64_t>(l);
    c0[l] = index & 0xffffffffu;
    c1[l] = index >> 32;
    c2[l] = stream & 0xffffffffu;
    c3[l] = stream >> 32;
  }
  std::uint64_t k0 = seed & 0xffffffffu, k1 = seed >> 32;
  for (int round = 0; round < 10; ++round) {
    for (int l = 0; l < kLanes; ++l) {
      const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * c0[l];
      const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * c2[l];
      c0[l] = (p1 >> 32) ^ c1[l] ^ k0;
      c1[l] = p1 & 0xffffffffu;
      c2[l] = (p0 >> 32) ^ c3[l] ^ k1;
      c3[l] = p0 & 0xffffffffu;
    }
    k0 = (k0 + 0x9E3779B9u) & 0xffffffffu;
    k1 = (k1 + 0xBB67AE85u) & 0xffffffffu;
  }
  for (int l = 0; l < kLanes; ++l) {
    words[4 * l] = static_cast<std::uint32_t>(c0[l]);
    words[4 * l + 1] = static_cast<std::uint32_t>(c1[l]);
    words[4 * l + 2] = static_cast<std::uint32_t>(c2[l]);
    words[4 * l + 3] = static_cast<std::uint32_t>(c3[l]);
  }
}

void run(const DropoutProblem& p, const Tensor& x, const Tensor& y) {
  const Elements<float> in(x), out(y);
  const float scale = static_cast<float>(p.scale());
  // p = 1 drops everything, also the word 2^32 - 1.
  const bool all = p.threshold() > 0xffffffffu;
  const std::uint32_t threshold = all ? 0xffffffffu : static_cast<std::uint32_t>(p.threshold());
  parallel_for(0, p.shape.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    std::uint32_t words[kBlock];
    float in_buffer[kBlock], out_buffer[kBlock];
    for (std::int64_t first = begin; first < end; first += kBlock) {
      const std::int64_t length = std::min(kBlock, end - first);
      philox_block(p.seed, p.stream, static_cast<std::uint64_t>(first), words);
      const float* from = in.read(first, length, in_buffer);
      float* to = out.target(first, out_buffer);
      for (std::int64_t i = 0; i < length; ++i) {
        const float scaled = from[i] * scale;
        to[i] = words[i] >= threshold && !all ? scaled : 0.0f;
      }
      out.commit(first, length, out_buffer);
    }
  });
}

}  // namespace

THORAX_PROVIDER(dropout_cpu, dropout_providers(),
                {.name = "cpu",
                 .device = DeviceKind::cpu,
                 .priority =
                     [](const DropoutProblem& p) { return p.dtype == DType::f32 ? 10 : -1; },
                 .run = run});

}  // namespace thorax
