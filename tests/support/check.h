// Helpers shared by the tests: fills, comparisons, poisoned outputs.
#pragma once

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "engine/runtime/device.h"
#include "engine/runtime/philox.h"
#include "engine/tensor/tensor.h"

namespace thorax::test {

// Whole numbers in [-range, range]: products and sums stay exact in float32 below 2^24, so that two
// kernels that sum in different orders must agree bit for bit.
inline Tensor integers(const Shape& shape, int range, std::uint64_t seed,
                       DType dtype = DType::f32) {
  Tensor values = Tensor::empty(shape, DType::f64);
  Philox random(seed, 1);
  double* v = values.data<double>();
  for (std::int64_t i = 0; i < values.numel(); ++i)
    v[i] = static_cast<double>(random.below(2 * static_cast<std::uint64_t>(range) + 1)) - range;
  return values.to(dtype);
}

inline Tensor normals(const Shape& shape, std::uint64_t seed, DType dtype = DType::f32,
                      double scale = 1.0) {
  Tensor values = Tensor::empty(shape, DType::f64);
  Philox random(seed, 2);
  double* v = values.data<double>();
  for (std::int64_t i = 0; i < values.numel(); ++i) v[i] = scale * random.normal();
  return values.to(dtype);
}

// Output memory that no correct kernel may leave behind.
inline Tensor poisoned(const Shape& shape, DType dtype = DType::f32, Device device = {}) {
  return Tensor::full(shape, std::numeric_limits<double>::quiet_NaN(), dtype, device);
}

// The same values as a channel slice of a wider tensor whose other channels are poisoned, on the
// same device.
inline Tensor as_slice(const Tensor& tensor, std::int64_t before = 3, std::int64_t after = 2) {
  std::vector<std::int64_t> extents(tensor.shape().extents().begin(),
                                    tensor.shape().extents().end());
  extents.back() += before + after;
  const Tensor wide =
      poisoned(Shape(std::span<const std::int64_t>(extents)), tensor.dtype(), tensor.device());
  const Tensor slice = wide.channel_slice(before, tensor.channels());
  slice.copy_from(tensor);
  return slice;
}

// True when the channels beside a slice still hold the poison; wherever its memory is.
inline bool neighbours_untouched(const Tensor& slice, std::int64_t before = 3,
                                 std::int64_t after = 2) {
  if (slice.numel() == 0 || slice.contiguous()) return true;
  const std::int64_t stride = slice.pixel_stride();
  std::vector<float> all(static_cast<std::size_t>(slice.pixels() * stride));
  copy_bytes(all.data(), Device{}, slice.device_data<float>() - before, slice.device(),
             all.size() * sizeof(float));
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::int64_t c = static_cast<std::int64_t>(i) % stride - before;
    if ((c < 0 || (c >= slice.channels() && c < slice.channels() + after)) && !std::isnan(all[i]))
      return false;
  }
  return true;
}

struct Difference {
  double worst = 0;  // largest |a - b| / (atol + rtol * |b|); infinite for NaN
  double absolute = 0;
  std::string where;
};

inline Difference difference(const Tensor& a, const Tensor& b, double atol, double rtol = 0) {
  Difference result;
  if (a.shape() != b.shape()) {
    result.worst = result.absolute = std::numeric_limits<double>::infinity();
    result.where = fmt::format("shapes {} and {}", a.shape(), b.shape());
    return result;
  }
  const Tensor x = a.to(Device{}).to_contiguous().to(DType::f64),
               y = b.to(Device{}).to_contiguous().to(DType::f64);
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    const double u = x.data<double>()[i], v = y.data<double>()[i];
    if (u == v) continue;
    const double absolute = std::abs(u - v);
    const double share = absolute / (atol + rtol * std::abs(v));
    if (!(share <= result.worst)) {
      result.worst = std::isnan(share) ? std::numeric_limits<double>::infinity() : share;
      result.absolute = absolute;
      result.where = fmt::format("element {} of {}: {} and {}", i, a.shape(), u, v);
    }
  }
  return result;
}

// Every value equal (0 and -0 count as equal); any NaN is a difference.
inline bool same_values(const Tensor& a, const Tensor& b) {
  return difference(a, b, 0).worst == 0;
}

}  // namespace thorax::test
