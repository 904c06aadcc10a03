// The tensor: a typed, shaped view of a storage. Copies share memory; `clone` copies it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/tensor/dtype.h"
#include "engine/tensor/shape.h"
#include "engine/tensor/storage.h"

namespace thorax {

// Layout: dense except that consecutive pixels (the last axis is the channel axis) may be further
// apart than the channel count. `pixel_stride() == channels()` means contiguous; larger means the
// tensor is a *channel slice* of a wider one. Every axis above the pixel follows densely: row
// stride = W * pixel stride, image stride = H * W * pixel stride. Rank 0 and 1 tensors are always
// contiguous.
class Tensor {
 public:
  Tensor() = default;  // undefined: no memory, defined() is false
  // Uninitialised memory. Throws Error when memory runs out.
  static Tensor empty(const Shape& shape, DType dtype = DType::f32, Device device = {});
  static Tensor zeros(const Shape& shape, DType dtype = DType::f32, Device device = {});
  static Tensor full(const Shape& shape, double value, DType dtype = DType::f32,
                     Device device = {});
  // Copies `values` (shape.numel() of them) into a new CPU tensor.
  template <class T>
  static Tensor from(std::span<const T> values, const Shape& shape) {
    THORAX_CHECK(static_cast<std::int64_t>(values.size()) == shape.numel(),
                 "[tensor] {} values for shape {}", values.size(), shape);
    Tensor result = empty(shape, DTypeOf<T>::value);
    std::copy(values.begin(), values.end(), result.data<T>());
    return result;
  }
  template <class T>
  static Tensor from(const std::vector<T>& values, const Shape& shape) {
    return from(std::span<const T>(values), shape);
  }

  // A view of a storage from its first byte on. Throws Error "[tensor] ..." when the storage is too
  // small or pixels overlap.
  static Tensor view(StoragePtr storage, const Shape& shape, DType dtype,
                     std::int64_t pixel_stride);

  bool defined() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  std::int64_t size(int axis) const { return shape_[axis]; }
  int rank() const { return shape_.rank(); }
  std::int64_t numel() const { return shape_.numel(); }
  DType dtype() const { return dtype_; }
  Device device() const;
  const StoragePtr& storage() const { return storage_; }
  std::int64_t offset() const { return offset_; }  // elements from the start of the storage

  // Extent of the last axis (1 for rank 0), and the number of pixels before it.
  std::int64_t channels() const { return rank() == 0 ? 1 : shape_[-1]; }
  std::int64_t pixels() const { return channels() == 0 ? 0 : numel() / channels(); }
  // Elements between consecutive pixels.
  std::int64_t pixel_stride() const { return pixel_stride_; }
  bool contiguous() const { return pixel_stride_ == channels() || pixels() <= 1; }
  std::size_t bytes() const { return static_cast<std::size_t>(numel()) * size_of(dtype_); }
  // True when no other tensor shares the storage, so that writing in place is unobservable.
  bool unique() const { return storage_.use_count() == 1; }

  // Typed pointer to the first element, for code that runs on the CPU. Throws Error when the type
  // is not dtype(), or when the memory is a GPU's.
  template <class T>
  T* data() const {
    check_type(DTypeOf<T>::value);
    check_host();
    return static_cast<T*>(raw());
  }
  // The same to hand to a kernel or to copy_bytes, wherever the memory is.
  template <class T>
  T* device_data() const {
    check_type(DTypeOf<T>::value);
    return static_cast<T*>(raw());
  }
  void* raw() const;

  // Same memory, other shape; needs a contiguous tensor and an equal element count.
  Tensor reshape(const Shape& shape) const;
  // Same memory: channels [begin, begin + count) of the last axis.
  Tensor channel_slice(std::int64_t begin, std::int64_t count) const;
  // Same memory: entries [begin, begin + count) of the first axis.
  Tensor batch_slice(std::int64_t begin, std::int64_t count) const;

  // New contiguous memory with the same values.
  Tensor clone() const;
  // This tensor when contiguous, else a clone.
  Tensor to_contiguous() const;
  // Copies values; shapes must be equal, dtypes and devices may differ.
  void copy_from(const Tensor& source) const;
  void fill(double value) const;
  // Value of a tensor with one element.
  double item() const;
  Tensor to(DType dtype) const;
  // This tensor when it is on `device` already, else a contiguous copy there.
  Tensor to(Device device) const;

 private:
  friend Tensor join_channels(std::span<const Tensor> parts);
  void check_type(DType wanted) const;
  void check_host() const;

  StoragePtr storage_;
  std::int64_t offset_ = 0;
  Shape shape_;
  std::int64_t pixel_stride_ = 1;
  DType dtype_ = DType::f32;
};

// a += b, element by element; shapes and dtypes (f32 or f64) must be equal. Either may be a channel
// slice.
void add_(const Tensor& a, const Tensor& b);
// A new tensor a + b.
Tensor add(const Tensor& a, const Tensor& b);
// a *= factor.
void scale_(const Tensor& a, double factor);
// Same rank-4 values with axes permuted: NHWC -> NCHW and back (also KRSC <-> OIHW). Contiguous
// result.
Tensor nhwc_to_nchw(const Tensor& tensor);
Tensor nchw_to_nhwc(const Tensor& tensor);
// The tensor whose adjacent channel slices are `parts`, sharing their memory; undefined when they
// are not consecutive channels of the same pixels of one storage.
Tensor join_channels(std::span<const Tensor> parts);
// True when every element is finite; f32 or f64, on a GPU also f16 and bf16.
bool all_finite(const Tensor& tensor);
// The sum of squares in double, in a fixed order; f32 or f64.
double sum_of_squares(const Tensor& tensor);

}  // namespace thorax
