// What an operation's providers are compared with when they are measured: inputs, and how far two
// right results may lie apart.
#pragma once

#include <cstdint>

#include "engine/tensor/tensor.h"

namespace thorax {

// Values spread evenly over (-1, 1), the same for a shape and a seed everywhere.
Tensor trial_values(const Shape& shape, DType dtype, Device device, std::uint64_t seed);

// Largest difference between two sums of `terms` products of such values, made in float32 (float64
// for f64) in any order, or by Winograd's algorithm, and rounded to `result`.
//
// A product has variance 1/9, so that partial sums stay below 2 sqrt(terms), six deviations. Every
// addition rounds by at most u times that; roundings are a random walk, too, so that the sum is off
// by 2 sqrt(terms) u times a multiple of sqrt(terms): 4 for the walk, 4 for what Winograd's
// transforms amplify (kernels/conv2d/README.md), 2 for two results.
double trial_bound(std::int64_t terms, DType inputs, DType result);

}  // namespace thorax
