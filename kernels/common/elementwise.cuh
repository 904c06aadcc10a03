// How kernels that move more than they compute see tensors: pixels of channels, cut into groups of
// N consecutive channels, one access each. A thread finds its group by a division, which is a
// multiplication here.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <type_traits>

#include "engine/runtime/launch.cuh"
#include "engine/tensor/half.h"
#include "engine/tensor/tensor.h"

namespace thorax {
namespace THORAX_GPU {

constexpr int kElementwiseThreads = 256;

__device__ inline std::int64_t thread_index() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
// One thread for each of `count` items.
inline LaunchConfig one_thread_each(std::int64_t count) {
  return {dim3(blocks_for(count, kElementwiseThreads)), dim3(kElementwiseThreads)};
}

// Division of whole numbers in [0, largest] by a divisor known to the host. Below 2^31 by a
// multiplication and a shift (Granlund and Montgomery, "Division by invariant integers using
// multiplication", PLDI 1994).
class Division {
 public:
  Division(std::int64_t divisor, std::int64_t largest) : divisor_(divisor > 0 ? divisor : 1) {
    constexpr std::int64_t kLimit = std::int64_t{1} << 31;
    narrow_ = divisor_ < kLimit && largest < kLimit;
    if (!narrow_) return;
    while ((std::int64_t{1} << shift_) < divisor_) ++shift_;
    multiplier_ = static_cast<std::uint32_t>(
        (std::uint64_t{1} << 32) *
            ((std::uint64_t{1} << shift_) - static_cast<std::uint64_t>(divisor_)) /
            static_cast<std::uint64_t>(divisor_) +
        1);
  }
  __device__ std::int64_t quotient(std::int64_t n) const {
    if (!narrow_) return n / divisor_;
    const std::uint32_t m = static_cast<std::uint32_t>(n);
    return (__umulhi(m, multiplier_) + m) >> shift_;
  }
  // Sets `rest` to n modulo the divisor.
  __device__ std::int64_t divide(std::int64_t n, std::int64_t& rest) const {
    const std::int64_t q = quotient(n);
    rest = n - q * divisor_;
    return q;
  }
  __device__ std::int64_t divisor() const { return divisor_; }

 private:
  std::int64_t divisor_;
  std::uint32_t multiplier_ = 0, shift_ = 0;
  bool narrow_ = false;
};

// A tensor as pixels x channels; `data` is nullptr for an undefined tensor.
template <class T>
struct Pixels {
  T* data = nullptr;
  std::int64_t stride = 0;  // elements between pixels
  Pixels() = default;
  explicit Pixels(const Tensor& t) {
    if (!t.defined()) return;
    data = t.device_data<std::remove_const_t<T>>();
    stride = t.pixel_stride();
  }
  __device__ T* at(std::int64_t pixel, std::int64_t channel) const {
    return data + pixel * stride + channel;
  }
};

// The groups of a matrix of pixels x channels, channels fastest.
struct Groups {
  std::int64_t count;
  Division per_pixel;
  Groups(std::int64_t pixels, std::int64_t channels, int width)
      : count(pixels * (channels / width)), per_pixel(channels / width, count) {}
  // Group i: its pixel, and its first channel / width.
  __device__ std::int64_t pixel(std::int64_t i, std::int64_t& group) const {
    return per_pixel.divide(i, group);
  }
};

// A thread's place in images of rows of pixels of groups of channels.
struct ImagePlace {
  std::int64_t group, column, row, image;
};
class ImageGroups {
 public:
  ImageGroups(std::int64_t batch, std::int64_t height, std::int64_t width, std::int64_t channels,
              int group_width)
      : groups_(batch * height * width, channels, group_width),
        columns_(width, batch * height * width),
        rows_(height, batch * height) {}
  __host__ __device__ std::int64_t count() const { return groups_.count; }
  __device__ ImagePlace place(std::int64_t i) const {
    ImagePlace at;
    const std::int64_t pixel = groups_.pixel(i, at.group);
    at.image = rows_.divide(columns_.divide(pixel, at.column), at.row);
    return at;
  }

 private:
  Groups groups_;
  Division columns_, rows_;
};

// The matrix that an operation without neighbours walks: one pixel of all elements when every
// defined tensor is contiguous, so that the channel count does not matter.
struct Matrix {
  std::int64_t pixels, channels;
  explicit Matrix(std::initializer_list<const Tensor*> tensors) {
    const Tensor& first = **tensors.begin();
    pixels = first.pixels();
    channels = first.channels();
    for (const Tensor* t : tensors)
      if (t->defined() && !t->contiguous()) return;
    pixels = 1;
    channels = first.numel();
  }
};

// True when groups of `width` channels of every defined tensor start at a multiple of their size.
inline bool groups_fit(int width, std::int64_t pixels, std::int64_t channels,
                       std::initializer_list<const Tensor*> tensors) {
  if (channels % width != 0) return false;
  for (const Tensor* t : tensors) {
    if (!t->defined()) continue;
    const std::size_t bytes = static_cast<std::size_t>(width) * size_of(t->dtype());
    if (reinterpret_cast<std::uintptr_t>(t->raw()) % bytes != 0) return false;
    if (pixels > 1 && t->pixel_stride() % width != 0) return false;
  }
  return true;
}

// Calls fn(std::integral_constant<int, N>) with the widest group of T that all tensors allow: 16
// bytes, else 2 elements, else 1.
template <class T, class Fn>
void with_width(std::int64_t pixels, std::int64_t channels,
                std::initializer_list<const Tensor*> tensors, const Fn& fn) {
  constexpr int kWide = 16 / static_cast<int>(sizeof(T));
  if (groups_fit(kWide, pixels, channels, tensors)) return fn(std::integral_constant<int, kWide>{});
  if (groups_fit(2, pixels, channels, tensors)) return fn(std::integral_constant<int, 2>{});
  fn(std::integral_constant<int, 1>{});
}

// Activations of GPU providers: calls fn(T{}) with float, Half or BFloat16.
inline bool is_activation_type(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16;
}
template <class Fn>
void dispatch_activation(DType dtype, const Fn& fn) {
  switch (dtype) {
    case DType::f32:
      return fn(float{});
    case DType::f16:
      return fn(Half{});
    case DType::bf16:
      return fn(BFloat16{});
    default:
      fail("[gpu] no kernel for activations of type {}", name_of(dtype));
  }
}

}  // namespace THORAX_GPU
}  // namespace thorax
