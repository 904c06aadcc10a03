// What tensor.cpp needs from a GPU to serve tensors there; implemented by tensor_device.cu.
#pragma once

#include <cstdint>
#include <span>

#include "engine/tensor/tensor.h"

namespace thorax {

// Tensors are on one device of the kind, not empty, and may be channel slices unless said
// otherwise.
struct TensorKernels {
  void (*fill)(const Tensor&, double value) = nullptr;
  void (*copy)(const Tensor& to, const Tensor& from) = nullptr;  // dtypes may differ
  void (*add)(const Tensor& a, const Tensor& b) = nullptr;       // a += b
  void (*scale)(const Tensor& a, double factor) = nullptr;
  // Contiguous: to[n][c][r] = from[n][r][c] for `images` matrices of rows x columns.
  void (*permute)(const Tensor& from, const Tensor& to, std::int64_t images, std::int64_t rows,
                  std::int64_t columns) = nullptr;
  // Contiguous. sum (f64, {1}) = the sum of squares over all of them, which may be empty;
  // non_finite (i32, {1}) = 1 when it is not finite, else 0. Does not wait.
  void (*sum_of_squares)(std::span<const Tensor>, const Tensor& sum,
                         const Tensor& non_finite) = nullptr;
  // Contiguous. Waits for the device.
  bool (*all_finite)(const Tensor&) = nullptr;
};
void register_tensor_kernels(DeviceKind kind, const TensorKernels& kernels);
const TensorKernels& tensor_kernels(DeviceKind kind);

}  // namespace thorax
