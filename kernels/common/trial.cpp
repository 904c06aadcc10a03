#include "kernels/common/trial.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/runtime/philox.h"

namespace thorax {
namespace {

double unit(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return 0x1p-53;
    case DType::f16:
      return 0x1p-11;
    case DType::bf16:
      return 0x1p-8;
    default:
      return 0x1p-24;
  }
}

}  // namespace

Tensor trial_values(const Shape& shape, DType dtype, Device device, std::uint64_t seed) {
  // A prime number of values, repeated: large maps are not worth the time of their random numbers.
  constexpr std::size_t kPeriod = 65537;
  std::vector<float> some(kPeriod);
  Philox random(seed, 0x747269616c);
  for (float& value : some) value = static_cast<float>(random.uniform(-1, 1));
  const Tensor values = Tensor::empty(shape, DType::f32);
  float* to = values.data<float>();
  for (std::int64_t i = 0; i < values.numel(); i += kPeriod)
    std::copy_n(some.data(), std::min<std::int64_t>(kPeriod, values.numel() - i), to + i);
  return values.to(dtype).to(device);
}

double trial_bound(std::int64_t terms, DType inputs, DType result) {
  const double n = static_cast<double>(std::max<std::int64_t>(terms, 1)) + 4;
  const double sum_unit = inputs == DType::f64 ? unit(DType::f64) : unit(DType::f32);
  const double largest = 2 * std::sqrt(n);
  return largest * (2 * 4 * 4 * std::sqrt(n) * sum_unit + 2 * unit(result));
}

}  // namespace thorax
