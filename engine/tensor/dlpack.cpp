#include "engine/tensor/dlpack.h"

#include <fmt/ranges.h>

#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include "engine/runtime/device.h"

namespace thorax {
namespace {

using dlpack::Array;
using dlpack::DataType;

std::string text(DataType type) {
  const char* codes[] = {"int", "uint", "float", "opaque", "bfloat", "complex", "bool"};
  const std::string code =
      type.code < std::size(codes) ? codes[type.code] : fmt::format("type {}:", type.code);
  return fmt::format("{}{}{}", code, type.bits,
                     type.lanes == 1 ? "" : fmt::format("x{}", type.lanes));
}

struct Row {
  DType dtype;
  DataType type;
};
constexpr Row kTypes[] = {
    {DType::f32, {dlpack::kFloat, 32, 1}}, {DType::f64, {dlpack::kFloat, 64, 1}},
    {DType::f16, {dlpack::kFloat, 16, 1}}, {DType::bf16, {dlpack::kBfloat, 16, 1}},
    {DType::i32, {dlpack::kInt, 32, 1}},   {DType::i64, {dlpack::kInt, 64, 1}},
    {DType::u8, {dlpack::kUint, 8, 1}},    {DType::u8, {dlpack::kBool, 8, 1}},
};

DType dtype_of(DataType type) {
  for (const Row& row : kTypes)
    if (row.type.code == type.code && row.type.bits == type.bits && row.type.lanes == type.lanes)
      return row.dtype;
  fail(
      "[dlpack] elements of {}: a tensor holds float32, float64, float16, bfloat16, int32, int64, "
      "uint8 or bool; convert them before",
      text(type));
}

DataType type_of(DType dtype) {
  for (const Row& row : kTypes)
    if (row.dtype == dtype) return row.type;
  fail("[dlpack] no type for {}", name_of(dtype));
}

Device device_of(const Array& array) {
  switch (array.device.type) {
    case dlpack::kCpu:
    case dlpack::kCudaHost:
      return {};
    case dlpack::kCuda:
    case dlpack::kCudaManaged: {
      const int count = device_count(DeviceKind::cuda), id = array.device.id;
      THORAX_CHECK(id >= 0 && id < count,
                   "[dlpack] memory of the CUDA device {}, of which there are {} here", id, count);
      return {DeviceKind::cuda, id};
    }
    default:
      fail(
          "[dlpack] memory of a device of type {}: host memory (1) and CUDA devices (2) are taken; "
          "copy it to the host",
          array.device.type);
  }
}

std::int64_t channels_of(const Shape& shape) {
  return shape.rank() == 0 ? 1 : shape[-1];
}

// The distance of pixels for a layout that a tensor can have.
std::int64_t pixel_stride_of(const Array& array, const Shape& shape) {
  const int rank = array.ndim;
  const std::int64_t channels = channels_of(shape);
  if (array.strides == nullptr || shape.numel() <= 1) return channels;
  const auto refuse = [&](std::string_view why) {
    fail("[dlpack] {} with strides {} (elements): {}; make it contiguous", shape,
         fmt::join(std::span(array.strides, static_cast<std::size_t>(rank)), ", "), why);
  };
  // A stride over an axis of one element is never taken.
  if (shape[rank - 1] > 1 && array.strides[rank - 1] != 1)
    refuse("the elements of a pixel must lie side by side");
  std::int64_t pixel = 0, wanted = 0;  // the distance of pixels, once an axis has told it
  // Beyond this no memory reaches, and sums and products below could overflow.
  constexpr std::int64_t kFarthest = std::int64_t{1} << 56;
  for (int axis = rank - 2; axis >= 0; --axis) {
    const std::int64_t size = shape[axis], stride = array.strides[axis];
    if (size == 1) continue;
    if (pixel == 0) {
      if (stride < channels) refuse("pixels must not overlap or run backwards");
      pixel = wanted = stride;
    } else if (stride != wanted) {
      refuse("rows and images must follow one another without gaps");
    }
    if (__builtin_mul_overflow(stride, size, &wanted) || wanted > kFarthest)
      refuse("pixels lie further apart than memory reaches");
  }
  return pixel == 0 ? channels : pixel;
}

Tensor take(const Array& array, std::shared_ptr<void> owner) {
  THORAX_CHECK(array.ndim >= 0 && array.ndim <= Shape::kMaxRank &&
                   (array.ndim == 0 || array.shape != nullptr),
               "[dlpack] an array of rank {}: up to {} axes are taken", array.ndim,
               Shape::kMaxRank);
  const std::span<const std::int64_t> sizes(array.shape, static_cast<std::size_t>(array.ndim));
  const Shape shape(sizes);  // refuses what is negative or cannot be addressed
  const DType dtype = dtype_of(array.dtype);
  const Device device = device_of(array);
  const std::int64_t stride = pixel_stride_of(array, shape);
  THORAX_CHECK(shape.numel() == 0 || array.data != nullptr, "[dlpack] {} {} without memory", shape,
               name_of(dtype));
  char* const first =
      array.data == nullptr ? nullptr : static_cast<char*>(array.data) + array.byte_offset;
  THORAX_CHECK(reinterpret_cast<std::uintptr_t>(first) % size_of(dtype) == 0,
               "[dlpack] {} {} at an address that is no multiple of {}; copy it", shape,
               name_of(dtype), size_of(dtype));
  const std::int64_t channels = channels_of(shape);
  const std::int64_t pixels = channels == 0 ? 0 : shape.numel() / channels;
  const std::int64_t elements = pixels == 0 ? 0 : (pixels - 1) * stride + channels;
  return Tensor::view(
      std::make_shared<Storage>(first, static_cast<std::size_t>(elements) * size_of(dtype), device,
                                std::move(owner)),
      shape, dtype, stride);
}

// Shared by the storage that is made of it; lets go of it without a call when taking it has failed.
template <class Given>
struct Keeper {
  Given* given;
  bool kept = false;
  ~Keeper() {
    if (kept && given->deleter != nullptr) given->deleter(given);
  }
};
template <class Given>
Tensor take(Given* given) {
  THORAX_CHECK(given != nullptr, "[dlpack] no array");
  const auto keeper = std::make_shared<Keeper<Given>>(Keeper<Given>{given});
  Tensor tensor = take(given->array, keeper);
  keeper->kept = true;
  return tensor;
}

// What is handed out, and the memory it keeps alive.
template <class Given>
struct Lent {
  Given managed{};
  Tensor tensor;
  std::vector<std::int64_t> shape, strides;
};
template <class Given>
Given* lend(const Tensor& tensor) {
  THORAX_CHECK(tensor.defined(), "[dlpack] an undefined tensor has no memory");
  const Device device = tensor.device();
  THORAX_CHECK(device.kind != DeviceKind::sim,
               "[dlpack] {} on {}: other programs know no simulated device; take .to(Device{{}})",
               tensor.shape(), to_string(device));
  if (device.kind != DeviceKind::cpu) synchronize(device);
  auto lent = std::make_unique<Lent<Given>>();
  lent->tensor = tensor;
  const int rank = tensor.shape().rank();
  lent->shape.resize(static_cast<std::size_t>(rank));
  lent->strides = lent->shape;
  std::int64_t stride = tensor.pixel_stride();
  for (int axis = rank - 1; axis >= 0; --axis) {
    const std::size_t i = static_cast<std::size_t>(axis);
    lent->shape[i] = tensor.size(axis);
    lent->strides[i] = axis == rank - 1 ? 1 : stride;
    if (axis < rank - 1) stride *= tensor.size(axis);
  }
  Array& array = lent->managed.array;
  array.data = tensor.raw();
  array.device = {device.kind == DeviceKind::cpu ? dlpack::kCpu : dlpack::kCuda, device.index};
  array.ndim = rank;
  array.dtype = type_of(tensor.dtype());
  array.shape = lent->shape.data();
  array.strides = lent->strides.data();
  array.byte_offset = 0;
  lent->managed.manager = lent.get();
  lent->managed.deleter = [](Given* self) { delete static_cast<Lent<Given>*>(self->manager); };
  if constexpr (std::is_same_v<Given, dlpack::ManagedVersioned>) lent->managed.version = {1, 0};
  return &lent.release()->managed;
}

}  // namespace

Tensor from_dlpack(dlpack::ManagedVersioned* given, bool* read_only) {
  THORAX_CHECK(given != nullptr, "[dlpack] no array");
  // Another major version lays the rest out differently.
  THORAX_CHECK(given->version.major == 1,
               "[dlpack] an array of DLPack's version {}.{}: versions 1.x are read",
               given->version.major, given->version.minor);
  const bool locked = (given->flags & dlpack::kReadOnly) != 0;
  THORAX_CHECK(read_only != nullptr || !locked,
               "[dlpack] the memory is read-only and a tensor may be written to; copy it, or ask "
               "for the flag and do not write");
  if (read_only != nullptr) *read_only = locked;
  return take(given);
}

Tensor from_dlpack(dlpack::Managed* given) {
  return take(given);
}

dlpack::ManagedVersioned* to_dlpack(const Tensor& tensor) {
  return lend<dlpack::ManagedVersioned>(tensor);
}

dlpack::Managed* to_dlpack_unversioned(const Tensor& tensor) {
  return lend<dlpack::Managed>(tensor);
}

}  // namespace thorax
