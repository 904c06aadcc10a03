// Parameter initialisers. Values depend on (seed, name) only, so adding a layer changes no other
// layer's start.
#pragma once

#include <cstdint>
#include <string_view>

#include "engine/tensor/tensor.h"

namespace thorax {

// fan_in and fan_out of a weight: rank 4 KRSC -> R*S*C and R*S*K; rank 2 (out x in) -> in and out.
struct Fans {
  std::int64_t in = 1, out = 1;
};
Fans fans_of(const Shape& shape);

// N(0, gain^2 / fan). He et al. 2015: gain sqrt(2) before a ReLU.
void init_kaiming_normal(const Tensor& weight, std::uint64_t seed, std::string_view name,
                         bool fan_out = false);
// U(-a, a), a = sqrt(6 / (fan_in + fan_out)). Glorot & Bengio 2010.
void init_xavier_uniform(const Tensor& weight, std::uint64_t seed, std::string_view name);
// U(-bound, bound).
void init_uniform(const Tensor& tensor, double bound, std::uint64_t seed, std::string_view name);
// N(0, deviation^2).
void init_normal(const Tensor& tensor, double deviation, std::uint64_t seed, std::string_view name);

}  // namespace thorax
