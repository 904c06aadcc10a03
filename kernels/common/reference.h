// What the references share: float32 and float64 by one template, and how they read pixels.
#pragma once

#include "engine/tensor/tensor.h"

namespace thorax::reference {

/// A reference takes float32 and float64, and is chosen when nothing better takes the problem.
inline constexpr auto priority = [](const auto& problem) {
  return problem.dtype == DType::f32 || problem.dtype == DType::f64 ? 0 : -1;
};

/// Calls `call(T{})` with the problem's element type T, float or double.
template <class Problem, class Call>
void with_type(const Problem& problem, const Call& call) {
  problem.dtype == DType::f64 ? call(double{}) : call(float{});
}

/// Pixels of an N x H x W x C tensor (or filters, K x R x S x C), which may be a slice of channels.
template <class T>
struct View {
  T* data;
  std::int64_t height, width, stride;
  explicit View(const Tensor& t)
      : data(t.data<T>()), height(t.size(1)), width(t.size(2)), stride(t.pixel_stride()) {}
  T* pixel(std::int64_t n, std::int64_t h, std::int64_t w) const {
    return data + ((n * height + h) * width + w) * stride;
  }
  T& at(std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t c) const {
    return pixel(n, h, w)[c];
  }
};

}  // namespace thorax::reference
