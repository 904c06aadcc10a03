// Products in 16 bits and tf32 beside the reference: values that a type has, where tensors go, and
// how far a result may be from exact arithmetic on the rounded inputs.
#pragma once

#include <algorithm>
#include <cmath>

#include "tests/support/check.h"

namespace thorax::test {

// A provider in one type. `product_error`: of one product, relative, what rounding the factors
// costs (tf32).
struct Variant {
  const char* provider;
  DType dtype;
  double product_error = 0;
  bool winograd = false;
};

// The nearest values that a type has, as float32; an undefined tensor stays undefined.
inline Tensor representable(const Tensor& t, DType dtype) {
  return t.defined() ? t.to(dtype).to(DType::f32) : t;
}

// A tensor of the provider's type and device; a channel slice with unaligned rows when `slice`.
inline Tensor unaligned(const Tensor& t, DType dtype, Device device, bool slice) {
  if (!t.defined()) return t;
  if (!slice || t.numel() == 0) return t.to(dtype).to(device);
  return as_slice(t.to(dtype).to(device));
}
// On the CPU, contiguous, in float32.
inline Tensor fetched(const Tensor& t) {
  return t.to_contiguous().to(Device{}).to(DType::f32);
}

inline Tensor absolute(const Tensor& t) {
  if (!t.defined()) return t;
  const Tensor result = t.clone();
  for (std::int64_t i = 0; i < result.numel(); ++i)
    result.data<float>()[i] = std::abs(result.data<float>()[i]);
  return result;
}

// Largest |a - b| as a share of factor * size + output * |b|, where size is the sum of the absolute
// values of what was added up; infinite for NaN. Winograd mixes a tile: then (`normwise`) the
// largest size of the tensor counts.
inline double worst_share(const Tensor& a, const Tensor& b, const Tensor& size, double factor,
                          double output, bool normwise = false) {
  if (!b.defined()) return a.defined() ? INFINITY : 0;
  if (a.shape() != b.shape()) return INFINITY;
  double largest = 0, worst = 0;
  for (std::int64_t i = 0; i < b.numel(); ++i)
    largest = std::max(largest, double(size.data<float>()[i]));
  for (std::int64_t i = 0; i < b.numel(); ++i) {
    const double error = std::abs(double(a.data<float>()[i]) - double(b.data<float>()[i]));
    if (error == 0) continue;
    const double scale = normwise ? largest : double(size.data<float>()[i]);
    const double share =
        error / (factor * scale + output * std::abs(double(b.data<float>()[i])) + 1e-30);
    if (!(share <= worst)) worst = std::isnan(share) ? INFINITY : share;
  }
  return worst;
}

// What rounding a result to its type may change, relative.
inline double output_rounding(DType dtype) {
  return dtype == DType::f16 ? 1.0 / (1 << 11) : dtype == DType::bf16 ? 1.0 / (1 << 8) : 0;
}

// A float32 sum of n products: roundings behave like a random walk, tensor cores may cut instead of
// round (twice the step); the transforms of Winograd's F(2x2, 3x3) add at most a factor of 4.
inline double sum_error(const Variant& v, std::int64_t terms) {
  return (4 * std::sqrt(double(terms)) + 4) / (1 << 23) * (v.winograd ? 2 : 1) + v.product_error;
}

// Whole numbers: exact but for the one rounding to the result's type.
inline bool same_or_absent(const Tensor& got, const Tensor& want, DType dtype) {
  return want.defined() ? same_values(got, representable(want, dtype)) : !got.defined();
}

}  // namespace thorax::test
