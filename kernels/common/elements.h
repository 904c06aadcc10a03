// Elementwise access to tensors that may be channel slices.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "engine/tensor/tensor.h"

namespace thorax {

// What a loss over logits of this type is computed in and returned as: 16-bit floats could hold
// neither its sums nor a gradient times a loss scale of 2^16.
constexpr DType loss_dtype(DType logits) {
  return logits == DType::f64 ? DType::f64 : DType::f32;
}

// Elements of a tensor by logical index (the index in a contiguous copy), whatever its pixel
// stride.
template <class T>
class Elements {
 public:
  explicit Elements(const Tensor& t)
      : data_(t.data<T>()),
        channels_(std::max<std::int64_t>(1, t.channels())),
        stride_(t.pixel_stride()),
        dense_(t.contiguous()) {}

  T& operator[](std::int64_t i) const {
    return dense_ ? data_[i] : data_[i / channels_ * stride_ + i % channels_];
  }
  // Elements [first, first + count): the memory itself where it is dense, else gathered in
  // `buffer`.
  const T* read(std::int64_t first, std::int64_t count, T* buffer) const {
    if (dense_) return data_ + first;
    for_runs(first, count, [&](T* run, std::int64_t at, std::int64_t length) {
      std::copy(run, run + length, buffer + at);
    });
    return buffer;
  }
  // Where to write elements [first, first + count): the memory itself, or `buffer`, which commit()
  // then scatters.
  T* target(std::int64_t first, T* buffer) const { return dense_ ? data_ + first : buffer; }
  void commit(std::int64_t first, std::int64_t count, const T* buffer) const {
    if (dense_) return;
    for_runs(first, count, [&](T* run, std::int64_t at, std::int64_t length) {
      std::copy(buffer + at, buffer + at + length, run);
    });
  }

 private:
  template <class Run>
  void for_runs(std::int64_t first, std::int64_t count, const Run& run) const {
    for (std::int64_t i = first; i < first + count;) {
      const std::int64_t pixel = i / channels_, channel = i % channels_;
      const std::int64_t length = std::min(channels_ - channel, first + count - i);
      run(data_ + pixel * stride_ + channel, i - first, length);
      i += length;
    }
  }

  T* data_;
  std::int64_t channels_, stride_;
  bool dense_;
};

// Values of a target: f32, f64, or a u8 mask whose non-zero elements count as 1.
template <class T>
class TargetElements {
 public:
  explicit TargetElements(const Tensor& t)
      : mask_(t.dtype() == DType::u8),
        bytes_(mask_ ? t : Tensor::empty({0}, DType::u8)),
        values_(mask_ ? Tensor::empty({0}, DTypeOf<T>::value) : t) {}

  T operator[](std::int64_t i) const { return mask_ ? static_cast<T>(bytes_[i] != 0) : values_[i]; }
  const T* read(std::int64_t first, std::int64_t count, T* buffer) const {
    if (!mask_) return values_.read(first, count, buffer);
    for (std::int64_t i = 0; i < count; ++i) buffer[i] = static_cast<T>(bytes_[first + i] != 0);
    return buffer;
  }

 private:
  bool mask_;
  Elements<std::uint8_t> bytes_;
  Elements<T> values_;
};

}  // namespace thorax
