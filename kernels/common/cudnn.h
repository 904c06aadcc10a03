// What the cuDNN and cuBLAS providers share: handles, descriptors, errors. Builds with
// THORAX_WITH_CUDNN only.
#pragma once

#include <cublas_v2.h>
#include <cudnn.h>

#include "engine/tensor/tensor.h"

namespace thorax::vendor {

// Whether the library is the vendor's own: on a machine without one, bench/gpu_bundle.sh's stand-in
// lets the program start, and there are no kernels of that vendor library then.
bool cudnn_here();
bool cublas_here();

void check(cudnnStatus_t status, const char* what);
void check(cublasStatus_t status, const char* what);
// A handle per device and thread of the host, on the device's compute stream.
cudnnHandle_t cudnn(Device device);
cublasHandle_t cublas(Device device);

cudnnDataType_t type_of(DType dtype);  // f32, f64, f16, bf16; throws Error for others

// A cuDNN descriptor, destroyed at the end of the scope.
template <class T, cudnnStatus_t (*create)(T*), cudnnStatus_t (*destroy)(T)>
class Descriptor {
 public:
  Descriptor() { check(create(&value_), "descriptor"); }
  ~Descriptor() { destroy(value_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  operator T() const { return value_; }

 private:
  T value_ = nullptr;
};
using ConvolutionDescriptor =
    Descriptor<cudnnConvolutionDescriptor_t, cudnnCreateConvolutionDescriptor,
               cudnnDestroyConvolutionDescriptor>;
using FilterDescriptor =
    Descriptor<cudnnFilterDescriptor_t, cudnnCreateFilterDescriptor, cudnnDestroyFilterDescriptor>;
using PoolingDescriptor = Descriptor<cudnnPoolingDescriptor_t, cudnnCreatePoolingDescriptor,
                                     cudnnDestroyPoolingDescriptor>;
using ActivationDescriptor =
    Descriptor<cudnnActivationDescriptor_t, cudnnCreateActivationDescriptor,
               cudnnDestroyActivationDescriptor>;

// N x H x W x C with its pixel stride; lower ranks are filled up with ones.
class TensorDescriptor : public Descriptor<cudnnTensorDescriptor_t, cudnnCreateTensorDescriptor,
                                           cudnnDestroyTensorDescriptor> {
 public:
  explicit TensorDescriptor(const Tensor& tensor);
};

// y += bias, one value per channel of any type; y = max(0, y).
void add_bias(const Tensor& y, const Tensor& bias);
void apply_relu(const Tensor& y);
// dy where y > 0, in new memory.
Tensor relu_gradient(const Tensor& dy, const Tensor& y);
// The sum of dy over its pixels, into dbias of any type.
void sum_bias_gradient(const Tensor& dy, const Tensor& dbias);

}  // namespace thorax::vendor
