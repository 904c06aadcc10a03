#if defined(THORAX_WITH_CUDNN)

#include "kernels/common/cudnn.h"

#include <map>

#include "engine/registry/autotune.h"
#include "engine/runtime/cuda_stream.h"

namespace thorax::vendor {

namespace {
[[maybe_unused]] const bool announced = [] {
  if (cudnn_here()) announce_library(fmt::format("cuDNN {}", cudnnGetVersion()));
  if (cublas_here())
    announce_library(
        fmt::format("cuBLAS {}.{}.{}", CUBLAS_VER_MAJOR, CUBLAS_VER_MINOR, CUBLAS_VER_PATCH));
  return true;
}();
}  // namespace

bool cudnn_here() {
  return cudnnGetVersion() > 1;
}

bool cublas_here() {
  int major = 0;
  return cublasGetProperty(MAJOR_VERSION, &major) == CUBLAS_STATUS_SUCCESS && major > 0;
}

void check(cudnnStatus_t status, const char* what) {
  THORAX_CHECK(status == CUDNN_STATUS_SUCCESS, "[cudnn] {}: {}", what, cudnnGetErrorString(status));
}

void check(cublasStatus_t status, const char* what) {
  THORAX_CHECK(status == CUBLAS_STATUS_SUCCESS, "[cublas] {}: {}", what,
               cublasGetStatusString(status));
}

// The libraries allow no two threads in one handle at once, so each thread of the host has its own;
// kept to the end of the process, when the driver may be gone before the thread's objects are.
cudnnHandle_t cudnn(Device device) {
  static thread_local auto& handles = *new std::map<int, cudnnHandle_t>;
  cudaStream_t stream = cuda_detail::compute_stream(device.index);  // makes the device current
  cudnnHandle_t& handle = handles[device.index];
  if (handle == nullptr) {
    check(cudnnCreate(&handle), "handle");
    check(cudnnSetStream(handle, stream), "stream");
  }
  return handle;
}

cublasHandle_t cublas(Device device) {
  static thread_local auto& handles = *new std::map<int, cublasHandle_t>;
  cudaStream_t stream = cuda_detail::compute_stream(device.index);
  cublasHandle_t& handle = handles[device.index];
  if (handle == nullptr) {
    check(cublasCreate(&handle), "handle");
    check(cublasSetStream(handle, stream), "stream");
  }
  return handle;
}

cudnnDataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return CUDNN_DATA_FLOAT;
    case DType::f64:
      return CUDNN_DATA_DOUBLE;
    case DType::f16:
      return CUDNN_DATA_HALF;
    case DType::bf16:
      return CUDNN_DATA_BFLOAT16;
    default:
      fail("[cudnn] no data type for {}", name_of(dtype));
  }
}

TensorDescriptor::TensorDescriptor(const Tensor& t) {
  const auto axis = [&](int i) { return static_cast<int>(t.rank() > i + 1 ? t.size(i) : 1); };
  const int n = axis(0), h = axis(1), w = axis(2), c = static_cast<int>(t.channels());
  const int pixel = static_cast<int>(t.pixel_stride());
  check(cudnnSetTensor4dDescriptorEx(*this, type_of(t.dtype()), n, c, h, w, h * w * pixel, 1,
                                     w * pixel, pixel),
        "tensor descriptor");
}

namespace {

constexpr float kOne = 1, kZero = 0;

class ReluDescriptor : public ActivationDescriptor {
 public:
  ReluDescriptor() {
    check(cudnnSetActivationDescriptor(*this, CUDNN_ACTIVATION_RELU, CUDNN_PROPAGATE_NAN, 0),
          "ReLU");
  }
};

// cuDNN wants parameters of the activations' type, as a tensor of one pixel.
Tensor one_pixel(const Tensor& values, DType dtype) {
  return values.to(dtype).reshape({1, 1, 1, values.numel()});
}

}  // namespace

void add_bias(const Tensor& y, const Tensor& bias) {
  const Tensor values = one_pixel(bias, y.dtype());
  check(cudnnAddTensor(cudnn(y.device()), &kOne, TensorDescriptor(values), values.raw(), &kOne,
                       TensorDescriptor(y), y.raw()),
        "bias");
}

void apply_relu(const Tensor& y) {
  const TensorDescriptor of_y(y);
  check(cudnnActivationForward(cudnn(y.device()), ReluDescriptor(), &kOne, of_y, y.raw(), &kZero,
                               of_y, y.raw()),
        "ReLU");
}

Tensor relu_gradient(const Tensor& dy, const Tensor& y) {
  const Tensor result = Tensor::empty(dy.shape(), dy.dtype(), dy.device());
  const TensorDescriptor of_y(y);
  check(cudnnActivationBackward(cudnn(dy.device()), ReluDescriptor(), &kOne, of_y, y.raw(),
                                TensorDescriptor(dy), dy.raw(), of_y, y.raw(), &kZero,
                                TensorDescriptor(result), result.raw()),
        "ReLU's gradient");
  return result;
}

void sum_bias_gradient(const Tensor& dy, const Tensor& dbias) {
  const Tensor sum = Tensor::empty({1, 1, 1, dbias.numel()}, dy.dtype(), dy.device());
  check(cudnnConvolutionBackwardBias(cudnn(dy.device()), &kOne, TensorDescriptor(dy), dy.raw(),
                                     &kZero, TensorDescriptor(sum), sum.raw()),
        "the bias's gradient");
  dbias.copy_from(sum.reshape(dbias.shape()));
}

}  // namespace thorax::vendor

#endif
