#include "engine/nn/init.h"

#include <cmath>

#include "engine/runtime/parallel.h"
#include "engine/runtime/philox.h"

namespace thorax {
namespace {

// FNV-1a: the stream of a parameter is its name.
std::uint64_t stream_of(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325ull;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return hash;
}

// tensor[i] = draw(stream, i), in chunks on several threads; on a GPU the CPU's values.
template <class Draw>
void fill(const Tensor& tensor, std::string_view name, const Draw& draw) {
  THORAX_CHECK(tensor.dtype() == DType::f32 && tensor.contiguous(),
               "[init] '{}' must be a contiguous f32 tensor, got {} {}", name,
               name_of(tensor.dtype()), tensor.shape());
  const std::uint64_t stream = stream_of(name);
  const Tensor host =
      tensor.device() == Device{} ? tensor : Tensor::empty(tensor.shape(), DType::f32);
  float* values = host.data<float>();
  parallel_for(0, tensor.numel(), 1 << 14, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i)
      values[i] = static_cast<float>(draw(stream, static_cast<std::uint64_t>(i)));
  });
  if (tensor.device() != Device{}) tensor.copy_from(host);
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
  fill(tensor, name, [&](std::uint64_t stream, std::uint64_t i) {
    return Philox(seed, stream, 2 * i).uniform(-bound, bound);
  });
}

void init_normal(const Tensor& tensor, double deviation, std::uint64_t seed,
                 std::string_view name) {
  // Philox(seed, stream, 4 * i).normal(), whose four words are one block: computed once, not four
  // times.
  fill(tensor, name, [&](std::uint64_t stream, std::uint64_t i) {
    const auto words = philox4x32(seed, stream, i);
    const auto unit = [&](std::size_t k) {
      return static_cast<double>((std::uint64_t{words[k]} << 32 | words[k + 1]) >> 11) * 0x1p-53;
    };
    const double u = 1.0 - unit(0), v = unit(2);
    return deviation * (std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v));
  });
}

}  // namespace thorax
