// Tensors from and for other libraries without a copy, by DLPack's interface of C structures
// (https://dmlc.github.io/dlpack/latest/c_api.html, version 1.0 and the unversioned one before it):
// NumPy, PyTorch, CuPy, JAX and others give and take these structures in Python capsules.
#pragma once

#include <cstdint>

#include "engine/tensor/tensor.h"

namespace thorax {

// The structures as the specification lays them out in memory.
namespace dlpack {

enum DeviceType : std::int32_t { kCpu = 1, kCuda = 2, kCudaHost = 3, kCudaManaged = 13 };
struct DeviceOf {
  std::int32_t type;
  std::int32_t id;
};
enum TypeCode : std::uint8_t { kInt = 0, kUint = 1, kFloat = 2, kBfloat = 4, kBool = 6 };
struct DataType {
  std::uint8_t code;
  std::uint8_t bits;
  std::uint16_t lanes;
};
struct Array {
  void* data;
  DeviceOf device;
  std::int32_t ndim;
  DataType dtype;
  std::int64_t* shape;
  std::int64_t* strides;  // in elements; null: row-major and dense
  std::uint64_t byte_offset;
};
// "dltensor"
struct Managed {
  Array array;
  void* manager;
  void (*deleter)(Managed* self);  // may be null
};
struct Version {
  std::uint32_t major, minor;
};
constexpr std::uint64_t kReadOnly = 1, kIsCopied = 2;
// "dltensor_versioned"
struct ManagedVersioned {
  Version version;
  void* manager;
  void (*deleter)(ManagedVersioned* self);  // may be null
  std::uint64_t flags;
  Array array;
};

}  // namespace dlpack

// A tensor on the memory of `given`, which it owns from then on: the deleter is called, once, when
// the last tensor on that memory is gone. Of any rank up to that of Shape; f32, f64, f16, bf16,
// i32, i64, u8 or bool (read as u8: a byte of 0 or 1); in host memory or on a CUDA device of this
// build; pixels may lie further apart than their channels, other strides are an error. Work of
// another stream on CUDA memory must have been waited for. Throws Error "[dlpack] ..." naming
// shape, strides or type; `given` is then still the caller's.
//
// `read_only` receives whether the other side wants nobody to write there; without it such memory
// is an error, for a tensor may be written to.
Tensor from_dlpack(dlpack::ManagedVersioned* given, bool* read_only = nullptr);
Tensor from_dlpack(dlpack::Managed* given);

// The memory of `tensor` for somebody else, who must call the deleter, from any thread, and keeps
// the memory alive until then. Of a CUDA device all work is waited for first. A tensor on a
// simulated GPU is an error: nobody else knows such a device; so is an undefined one.
dlpack::ManagedVersioned* to_dlpack(const Tensor& tensor);
dlpack::Managed* to_dlpack_unversioned(const Tensor& tensor);

}  // namespace thorax
