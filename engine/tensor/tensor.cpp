#include "engine/tensor/tensor.h"

#include <atomic>
#include <cmath>
#include <cstring>

#include "engine/runtime/allocator.h"
#include "engine/runtime/device.h"
#include "engine/runtime/parallel.h"
#include "engine/tensor/half.h"
#include "engine/tensor/square_sum.h"
#include "engine/tensor/tensor_kernels.h"

namespace thorax {

Storage::Storage(std::size_t bytes, Device device)
    : data_(allocator(device).allocate(bytes)), bytes_(bytes), device_(device) {}

Storage::Storage(void* data, std::size_t bytes, Device device, std::shared_ptr<void> owner)
    : data_(data), bytes_(bytes), device_(device), owner_(std::move(owner)) {
  THORAX_CHECK(owner_ != nullptr, "[storage] memory without an owner");
}

Storage::~Storage() {
  if (owner_ == nullptr) allocator(device_).release(data_, bytes_);
}

void Storage::move_to(Device device) {
  if (device == device_) return;
  void* moved = allocator(device).allocate(bytes_);
  copy_bytes(moved, device, data_, device_, bytes_);
  if (owner_ == nullptr) allocator(device_).release(data_, bytes_);
  owner_.reset();
  data_ = moved;
  device_ = device;
}

namespace {

bool on_cpu(const Tensor& t) {
  return t.device().kind == DeviceKind::cpu;
}

// Elements per chunk of a memory-bound loop: large enough to hide the fork, small enough to share.
constexpr std::int64_t kGrain = 1 << 15;

// Calls fn(T{}) with the element type of a CPU tensor.
template <class Fn>
void dispatch(DType dtype, const Fn& fn) {
  switch (dtype) {
    case DType::f32:
      return fn(float{});
    case DType::f64:
      return fn(double{});
    case DType::i32:
      return fn(std::int32_t{});
    case DType::i64:
      return fn(std::int64_t{});
    case DType::u8:
      return fn(std::uint8_t{});
    default:
      fail("[tensor] no CPU arithmetic for {}", name_of(dtype));
  }
}

// Calls fn(T{}) for any element type: what copies and fills take.
template <class Fn>
void dispatch_any(DType dtype, const Fn& fn) {
  if (dtype == DType::f16) return fn(Half{});
  if (dtype == DType::bf16) return fn(BFloat16{});
  dispatch(dtype, fn);
}

void check_same_device(const char* what, const Tensor& a, const Tensor& b) {
  THORAX_CHECK(a.device() == b.device(), "[{}] {} is on {}, {} on {}", what, a.shape(),
               to_string(a.device()), b.shape(), to_string(b.device()));
}

void check_same(const char* what, const Tensor& a, const Tensor& b) {
  THORAX_CHECK(a.defined() && b.defined(), "[{}] undefined tensor", what);
  THORAX_CHECK(a.shape() == b.shape(), "[{}] shapes {} and {} differ", what, a.shape(), b.shape());
}

// Calls row(offset_a, offset_b, count) for runs of elements that are consecutive in both tensors.
template <class Row>
void for_rows(const Tensor& a, const Tensor& b, const Row& row) {
  if (a.numel() == 0) return;
  if (a.contiguous() && b.contiguous()) {
    parallel_for(0, a.numel(), kGrain,
                 [&](std::int64_t first, std::int64_t last) { row(first, first, last - first); });
    return;
  }
  const std::int64_t channels = a.channels();
  const std::int64_t grain = std::max<std::int64_t>(1, kGrain / channels);
  parallel_for(0, a.pixels(), grain, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t p = first; p < last; ++p)
      row(p * a.pixel_stride(), p * b.pixel_stride(), channels);
  });
}

}  // namespace

Tensor Tensor::empty(const Shape& shape, DType dtype, Device device) {
  Tensor result;
  result.shape_ = shape;
  result.dtype_ = dtype;
  result.pixel_stride_ = shape.rank() == 0 ? 1 : shape[-1];
  result.storage_ =
      std::make_shared<Storage>(static_cast<std::size_t>(shape.numel()) * size_of(dtype), device);
  return result;
}

Tensor Tensor::view(StoragePtr storage, const Shape& shape, DType dtype,
                    std::int64_t pixel_stride) {
  Tensor result;
  result.shape_ = shape;
  result.dtype_ = dtype;
  result.pixel_stride_ = pixel_stride;
  const std::int64_t channels = result.channels();
  THORAX_CHECK(pixel_stride >= channels, "[tensor] {}: pixels {} elements apart would overlap",
               shape, pixel_stride);
  // The last pixel ends with its channels.
  const std::int64_t pixels = result.pixels();
  const std::int64_t elements = pixels == 0 ? 0 : (pixels - 1) * pixel_stride + channels;
  THORAX_CHECK(
      storage != nullptr && static_cast<std::size_t>(elements) <= storage->bytes() / size_of(dtype),
      "[tensor] {} of {} needs {} elements, the storage has {} bytes", shape, name_of(dtype),
      elements, storage == nullptr ? 0 : storage->bytes());
  result.storage_ = std::move(storage);
  return result;
}

Tensor Tensor::zeros(const Shape& shape, DType dtype, Device device) {
  return full(shape, 0.0, dtype, device);
}

Tensor Tensor::full(const Shape& shape, double value, DType dtype, Device device) {
  Tensor result = empty(shape, dtype, device);
  result.fill(value);
  return result;
}

Device Tensor::device() const {
  THORAX_CHECK(defined(), "[tensor] undefined tensor has no device");
  return storage_->device();
}

void* Tensor::raw() const {
  THORAX_CHECK(defined(), "[tensor] undefined tensor has no data");
  return static_cast<std::byte*>(storage_->data()) +
         static_cast<std::size_t>(offset_) * size_of(dtype_);
}

void Tensor::check_host() const {
  THORAX_CHECK(device().kind == DeviceKind::cpu,
               "[tensor] {} is on {}; code for the CPU asked for its memory", shape_,
               to_string(device()));
}

void Tensor::check_type(DType wanted) const {
  THORAX_CHECK(dtype_ == wanted, "[tensor] data of type {} asked for as {} (shape {})",
               name_of(dtype_), name_of(wanted), shape_);
}

Tensor Tensor::reshape(const Shape& shape) const {
  THORAX_CHECK(shape.numel() == numel(), "[reshape] {} has {} elements, {} has {}", shape_, numel(),
               shape, shape.numel());
  THORAX_CHECK(contiguous(), "[reshape] {} is a channel slice (pixel stride {})", shape_,
               pixel_stride_);
  Tensor result = *this;
  result.shape_ = shape;
  result.pixel_stride_ = shape.rank() == 0 ? 1 : shape[-1];
  return result;
}

Tensor Tensor::channel_slice(std::int64_t begin, std::int64_t count) const {
  THORAX_CHECK(rank() >= 2, "[channel_slice] needs rank 2 or more, got {}", shape_);
  THORAX_CHECK(begin >= 0 && count >= 0 && begin + count <= channels(),
               "[channel_slice] channels {}..{} of {}", begin, begin + count, shape_);
  std::array<std::int64_t, Shape::kMaxRank> extents{};
  for (int i = 0; i < rank(); ++i) extents[static_cast<std::size_t>(i)] = shape_[i];
  extents[static_cast<std::size_t>(rank() - 1)] = count;
  Tensor result = *this;
  result.shape_ =
      Shape(std::span<const std::int64_t>(extents.data(), static_cast<std::size_t>(rank())));
  result.offset_ += begin;
  return result;
}

Tensor Tensor::batch_slice(std::int64_t begin, std::int64_t count) const {
  THORAX_CHECK(rank() >= 1, "[batch_slice] needs rank 1 or more, got {}", shape_);
  THORAX_CHECK(begin >= 0 && count >= 0 && begin + count <= shape_[0],
               "[batch_slice] entries {}..{} of {}", begin, begin + count, shape_);
  std::array<std::int64_t, Shape::kMaxRank> extents{};
  std::int64_t inner = 1;  // pixels per entry
  for (int i = 0; i < rank(); ++i) {
    extents[static_cast<std::size_t>(i)] = shape_[i];
    if (i > 0 && i < rank() - 1) inner *= shape_[i];
  }
  extents[0] = count;
  Tensor result = *this;
  result.shape_ =
      Shape(std::span<const std::int64_t>(extents.data(), static_cast<std::size_t>(rank())));
  result.offset_ += rank() == 1 ? begin : begin * inner * pixel_stride_;
  if (rank() == 1) result.pixel_stride_ = count;
  return result;
}

Tensor Tensor::clone() const {
  Tensor result = empty(shape_, dtype_, device());
  result.copy_from(*this);
  return result;
}

Tensor Tensor::to_contiguous() const {
  return contiguous() ? *this : clone();
}

void Tensor::copy_from(const Tensor& source) const {
  check_same("copy", *this, source);
  if (numel() == 0) return;
  if (device() != source.device()) {
    // Bytes cross as they are, densely; what remains (type, stride) is done where it is needed.
    if (contiguous() && source.contiguous() && dtype_ == source.dtype_) {
      copy_bytes(raw(), device(), source.raw(), source.device(), bytes());
    } else {
      const Tensor dense = source.to_contiguous();
      Tensor here = empty(shape_, source.dtype_, device());
      copy_bytes(here.raw(), here.device(), dense.raw(), dense.device(), dense.bytes());
      copy_from(here);
    }
    return;
  }
  if (!on_cpu(*this)) {
    if (contiguous() && source.contiguous() && dtype_ == source.dtype_) {
      copy_bytes(raw(), device(), source.raw(), source.device(), bytes());
    } else {
      tensor_kernels(device().kind).copy(*this, source);
    }
    return;
  }
  if (dtype_ == source.dtype_) {
    const std::size_t size = size_of(dtype_);
    auto* to = static_cast<std::byte*>(raw());
    const auto* from = static_cast<const std::byte*>(source.raw());
    for_rows(*this, source, [&](std::int64_t a, std::int64_t b, std::int64_t count) {
      std::memcpy(to + static_cast<std::size_t>(a) * size,
                  from + static_cast<std::size_t>(b) * size,
                  static_cast<std::size_t>(count) * size);
    });
    return;
  }
  dispatch_any(dtype_, [&]<class To>(To) {
    dispatch_any(source.dtype_, [&]<class From>(From) {
      To* to = data<To>();
      const From* from = source.data<From>();
      for_rows(*this, source, [&](std::int64_t a, std::int64_t b, std::int64_t count) {
        for (std::int64_t i = 0; i < count; ++i) to[a + i] = convert<To>(from[b + i]);
      });
    });
  });
}

void Tensor::fill(double value) const {
  if (!on_cpu(*this)) {
    if (numel() > 0) tensor_kernels(device().kind).fill(*this, value);
    return;
  }
  dispatch_any(dtype_, [&]<class T>(T) {
    T* to = data<T>();
    for_rows(*this, *this, [&](std::int64_t a, std::int64_t, std::int64_t count) {
      std::fill_n(to + a, count, convert<T>(value));
    });
  });
}

double Tensor::item() const {
  THORAX_CHECK(defined() && numel() == 1, "[item] needs one element, got {}", shape_);
  double value = 0;
  const Tensor here = to(Device{});
  dispatch_any(dtype_, [&]<class T>(T) { value = convert<double>(*here.data<T>()); });
  return value;
}

Tensor Tensor::to(Device device) const {
  if (device == this->device()) return *this;
  Tensor result = empty(shape_, dtype_, device);
  result.copy_from(*this);
  return result;
}

Tensor Tensor::to(DType dtype) const {
  if (dtype == dtype_) return *this;
  Tensor result = empty(shape_, dtype, device());
  result.copy_from(*this);
  return result;
}

void add_(const Tensor& a, const Tensor& b) {
  check_same("add", a, b);
  THORAX_CHECK(a.dtype() == b.dtype(), "[add] {} and {}", name_of(a.dtype()), name_of(b.dtype()));
  check_same_device("add", a, b);
  if (!on_cpu(a)) {
    if (a.numel() > 0) tensor_kernels(a.device().kind).add(a, b);
    return;
  }
  dispatch(a.dtype(), [&]<class T>(T) {
    T* to = a.data<T>();
    const T* from = b.data<T>();
    for_rows(a, b, [&](std::int64_t i, std::int64_t j, std::int64_t count) {
      for (std::int64_t k = 0; k < count; ++k) to[i + k] = static_cast<T>(to[i + k] + from[j + k]);
    });
  });
}

Tensor add(const Tensor& a, const Tensor& b) {
  check_same("add", a, b);
  Tensor result = a.clone();
  add_(result, b);
  return result;
}

void scale_(const Tensor& a, double factor) {
  if (!on_cpu(a)) {
    if (a.numel() > 0) tensor_kernels(a.device().kind).scale(a, factor);
    return;
  }
  dispatch(a.dtype(), [&]<class T>(T) {
    T* to = a.data<T>();
    const T f = static_cast<T>(factor);
    for_rows(a, a, [&](std::int64_t i, std::int64_t, std::int64_t count) {
      for (std::int64_t k = 0; k < count; ++k) to[i + k] = static_cast<T>(to[i + k] * f);
    });
  });
}

namespace {

// result[n][c][p] = tensor[n][p][c] (or the reverse), p running over H * W.
Tensor permute(const Tensor& tensor, const Shape& shape, std::int64_t rows, std::int64_t columns) {
  const Tensor source = tensor.to_contiguous();
  Tensor result = Tensor::empty(shape, tensor.dtype(), tensor.device());
  if (tensor.numel() == 0) return result;
  if (!on_cpu(tensor)) {
    tensor_kernels(tensor.device().kind).permute(source, result, shape[0], rows, columns);
    return result;
  }
  dispatch(tensor.dtype(), [&]<class T>(T) {
    const T* from = source.data<T>();
    T* to = result.data<T>();
    const std::int64_t block = rows * columns;
    parallel_for(0, shape[0], 1, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t n = first; n < last; ++n)
        for (std::int64_t r = 0; r < rows; ++r)
          for (std::int64_t c = 0; c < columns; ++c)
            to[n * block + c * rows + r] = from[n * block + r * columns + c];
    });
  });
  return result;
}

}  // namespace

Tensor nhwc_to_nchw(const Tensor& t) {
  THORAX_CHECK(t.rank() == 4, "[nhwc_to_nchw] needs rank 4, got {}", t.shape());
  return permute(t, {t.size(0), t.size(3), t.size(1), t.size(2)}, t.size(1) * t.size(2), t.size(3));
}

Tensor nchw_to_nhwc(const Tensor& t) {
  THORAX_CHECK(t.rank() == 4, "[nchw_to_nhwc] needs rank 4, got {}", t.shape());
  return permute(t, {t.size(0), t.size(2), t.size(3), t.size(1)}, t.size(1), t.size(2) * t.size(3));
}

Tensor join_channels(std::span<const Tensor> parts) {
  if (parts.empty() || !parts[0].defined() || parts[0].rank() < 2) return {};
  const Tensor& first = parts[0];
  std::array<std::int64_t, Shape::kMaxRank> extents{};
  std::copy(first.shape().extents().begin(), first.shape().extents().end(), extents.begin());
  std::int64_t& total = extents[static_cast<std::size_t>(first.rank() - 1)];
  total = 0;
  for (const Tensor& part : parts) {
    if (part.storage() != first.storage() || part.dtype() != first.dtype() ||
        part.rank() != first.rank() || part.pixel_stride() != first.pixel_stride() ||
        part.offset() != first.offset() + total)
      return {};
    for (int axis = 0; axis < first.rank() - 1; ++axis)
      if (part.size(axis) != first.size(axis)) return {};
    total += part.channels();
  }
  if (total > first.pixel_stride()) return {};
  Tensor result = first;
  result.shape_ =
      Shape(std::span<const std::int64_t>(extents.data(), static_cast<std::size_t>(first.rank())));
  return result;
}

bool all_finite(const Tensor& tensor) {
  bool finite = true;
  const Tensor source = tensor.to_contiguous();
  if (!on_cpu(source))
    return source.numel() == 0 || tensor_kernels(source.device().kind).all_finite(source);
  const auto scan = [&]<class T>(const T* values) {
    std::atomic<bool> ok{true};
    parallel_for(0, source.numel(), kGrain, [&](std::int64_t first, std::int64_t last) {
      // x - x is 0 for finite x and NaN otherwise; a sum of zeros vectorises, a branch does not.
      T sum = 0;
      for (std::int64_t i = first; i < last; ++i) sum += values[i] - values[i];
      if (!(sum == 0)) ok.store(false, std::memory_order_relaxed);
    });
    return ok.load();
  };
  if (source.dtype() == DType::f32) {
    finite = scan(source.data<float>());
  } else if (source.dtype() == DType::f64) {
    finite = scan(source.data<double>());
  }
  return finite;
}

double sum_of_squares(const Tensor& tensor) {
  const Tensor source = tensor.to_contiguous();
  if (source.numel() == 0) return 0;
  if (!on_cpu(source)) return sum_of_squares(std::span(&source, 1)).sum.item();
  // One sum per chunk, added in order: the same bits for any number of threads.
  std::vector<double> sums(static_cast<std::size_t>((source.numel() + kGrain - 1) / kGrain));
  dispatch(source.dtype(), [&]<class T>(T) {
    const T* values = source.data<T>();
    parallel_for(0, source.numel(), kGrain, [&](std::int64_t first, std::int64_t last) {
      double sum = 0;
      for (std::int64_t i = first; i < last; ++i)
        sum += static_cast<double>(values[i]) * static_cast<double>(values[i]);
      sums[static_cast<std::size_t>(first / kGrain)] = sum;
    });
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

SquareSum sum_of_squares(std::span<const Tensor> tensors) {
  const Device device = tensors.empty() ? Device{} : tensors.front().device();
  for (const Tensor& tensor : tensors)
    THORAX_CHECK(tensor.device() == device, "[tensor] sum of squares of tensors on {} and on {}",
                 to_string(device), to_string(tensor.device()));
  const SquareSum result{Tensor::empty({1}, DType::f64, device),
                         Tensor::empty({1}, DType::i32, device)};
  if (device.kind == DeviceKind::cpu) {
    double sum = 0;
    for (const Tensor& tensor : tensors) sum += sum_of_squares(tensor);
    *result.sum.data<double>() = sum;
    *result.non_finite.data<std::int32_t>() = std::isfinite(sum) ? 0 : 1;
    return result;
  }
  std::vector<Tensor> dense;
  for (const Tensor& tensor : tensors) dense.push_back(tensor.to_contiguous());
  tensor_kernels(device.kind).sum_of_squares(dense, result.sum, result.non_finite);
  return result;
}

namespace {
std::array<TensorKernels, 3>& kernel_tables() {
  static std::array<TensorKernels, 3> tables{};
  return tables;
}
}  // namespace

void register_tensor_kernels(DeviceKind kind, const TensorKernels& kernels) {
  kernel_tables()[static_cast<std::size_t>(kind)] = kernels;
}

const TensorKernels& tensor_kernels(DeviceKind kind) {
  const TensorKernels& kernels = kernel_tables()[static_cast<std::size_t>(kind)];
  THORAX_CHECK(kernels.fill != nullptr, "[tensor] no kernels for {} in this build", name_of(kind));
  return kernels;
}

}  // namespace thorax
