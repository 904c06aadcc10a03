// Data of gpu_table, made and compared where it lies: a GPU does not wait for the host.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "engine/runtime/philox.h"
#include "kernels/pool/pool.h"

namespace thorax::bench {

// Normally distributed values times `scale`, made where they are needed: a prime number of them
// comes from the host and is repeated, so that a GPU does not wait for the host's random numbers.
inline Tensor normals(const Shape& shape, std::uint64_t seed, double scale, Device device = {}) {
  constexpr std::int64_t kPeriod = 65537;
  const Tensor t = Tensor::empty(shape, DType::f32, device);
  const Tensor flat = t.reshape({t.numel()});
  std::int64_t made = std::min(kPeriod, t.numel());
  const Tensor some = Tensor::empty({made});
  Philox random(seed, 11);
  for (std::int64_t i = 0; i < made; ++i)
    some.data<float>()[i] = static_cast<float>(scale * random.normal());
  flat.batch_slice(0, made).copy_from(some.to(device));
  for (std::int64_t more = 0; made < t.numel(); made += more) {
    more = std::min(made, t.numel() - made);
    flat.batch_slice(made, more).copy_from(flat.batch_slice(0, more));
  }
  return t;
}

// The largest value, on the values' device until few are left: maxima of 256 neighbours at a time.
// A NaN wins.
inline double largest(const Tensor& values) {
  constexpr std::int64_t kSide = 16, kFew = 1 << 14;
  Tensor rest = values.reshape({values.numel()});
  double most = -INFINITY;
  const auto on_host = [&most](const Tensor& some) {
    const Tensor here = some.to(Device{});
    for (std::int64_t i = 0; i < here.numel(); ++i)
      if (const double value = here.data<float>()[i]; !(value <= most))
        most = std::isnan(value) ? INFINITY : value;
  };
  while (rest.numel() > kFew) {
    const std::int64_t windows = rest.numel() / (kSide * kSide), whole = windows * kSide * kSide;
    on_host(rest.batch_slice(whole, rest.numel() - whole));
    const NoGrad no_grad;
    rest = max_pool2d(Variable(rest.batch_slice(0, whole).reshape({windows, kSide, kSide, 1})),
                      {.kernel = kSide})
               .value()
               .reshape({windows});
  }
  on_host(rest);
  return most;
}
inline double largest_size(const Tensor& values) {
  const Tensor negated = values.clone();
  scale_(negated, -1);
  return std::max(largest(values), largest(negated));
}

// Largest difference as a share of the largest value: one number that a wrong index cannot hide
// from. Where `wanted` is.
inline double relative_error(const Tensor& got, const Tensor& wanted) {
  const Tensor difference = wanted.clone();
  scale_(difference, -1);
  add_(difference, got.to(wanted.device()).to(DType::f32));
  return largest_size(difference) / std::max(largest_size(wanted), 1e-30);
}

}  // namespace thorax::bench
