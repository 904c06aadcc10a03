#include "engine/nn/init.h"

#include <cmath>

#include "engine/runtime/philox.h"

namespace thorax {
namespace {

// FNV-1a: the stream of a parameter is its name.
std::uint64_t stream_of(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325ull;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return hash;
}

template <class Draw>
void fill(const Tensor& tensor, std::uint64_t seed, std::string_view name, const Draw& draw) {
  THORAX_CHECK(tensor.dtype() == DType::f32 && tensor.contiguous(),
               "[init] '{}' must be a contiguous f32 tensor, got {} {}", name,
               name_of(tensor.dtype()), tensor.shape());
  Philox random(seed, stream_of(name));
  float* values = tensor.data<float>();
  for (std::int64_t i = 0; i < tensor.numel(); ++i) values[i] = static_cast<float>(draw(random));
}

}  // namespace

Fans fans_of(const Shape& shape) {
  if (shape.rank() == 4) return {shape[1] * shape[2] * shape[3], shape[1] * shape[2] * shape[0]};
  if (shape.rank() == 2) return {shape[1], shape[0]};
  fail("[init] no fan for shape {}", shape);
}

void init_kaiming_normal(const Tensor& weight, std::uint64_t seed, std::string_view name,
                         bool fan_out) {
  const Fans fans = fans_of(weight.shape());
  const double fan = static_cast<double>(fan_out ? fans.out : fans.in);
  init_normal(weight, std::sqrt(2.0 / fan), seed, name);
}

void init_xavier_uniform(const Tensor& weight, std::uint64_t seed, std::string_view name) {
  const Fans fans = fans_of(weight.shape());
  init_uniform(weight, std::sqrt(6.0 / static_cast<double>(fans.in + fans.out)), seed, name);
}

void init_uniform(const Tensor& tensor, double bound, std::uint64_t seed, std::string_view name) {
  fill(tensor, seed, name, [&](Philox& random) { return random.uniform(-bound, bound); });
}

void init_normal(const Tensor& tensor, double deviation, std::uint64_t seed,
                 std::string_view name) {
  fill(tensor, seed, name, [&](Philox& random) { return deviation * random.normal(); });
}

}  // namespace thorax
