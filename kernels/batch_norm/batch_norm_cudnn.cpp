// The vendor's batch normalisation on a GPU: provider "cudnn", to compare with and to select. The
// sum with the residual and the ReLU are passes of their own. cuDNN keeps statistics in float32 and
// has no backward pass with running statistics, which is the provider "cuda"'s here.
#if defined(THORAX_WITH_CUDNN)

#include "engine/runtime/device.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/common/cudnn.h"

namespace thorax {
namespace {

using vendor::TensorDescriptor;
constexpr float kOne = 1, kZero = 0;
// Its mode "persistent" is faster and may change bits from run to run.
constexpr cudnnBatchNormMode_t kMode = CUDNN_BATCHNORM_SPATIAL;

const BatchNormProvider& cuda() {
  return batch_norm_providers().named("cuda", DeviceKind::cuda);
}

// Dense (cuDNN takes no channel slices here), N x H x W x C as it is: its kernels for NHWC are
// chosen by the shape. Other ranks become one row of pixels.
Tensor map(const BatchNormProblem& p, const Tensor& t) {
  const Tensor dense = t.to_contiguous();
  return p.shape.rank() == 4 ? dense : dense.reshape({1, 1, p.pixels(), p.channels()});
}

class ParameterDescriptor
    : public vendor::Descriptor<cudnnTensorDescriptor_t, cudnnCreateTensorDescriptor,
                                cudnnDestroyTensorDescriptor> {
 public:
  explicit ParameterDescriptor(const TensorDescriptor& of) {
    vendor::check(cudnnDeriveBNTensorDescriptor(*this, of, kMode), "parameters");
  }
};

void forward(const BatchNormProblem& p, const Tensor& x, const Tensor& weight, const Tensor& bias,
             const Tensor& residual, const Tensor& mean, const Tensor& variance, const Tensor& y) {
  if (p.pixels() == 0) return;
  const Tensor in = map(p, x), out = Tensor::empty(in.shape(), p.dtype, x.device());
  const TensorDescriptor desc(in);
  const ParameterDescriptor parameters(desc);
  cudnnHandle_t handle = vendor::cudnn(x.device());
  if (p.training) {
    // Running statistics that are all of this batch: its mean, and its variance, unbiased.
    const Tensor m = Tensor::zeros({p.channels()}, DType::f32, x.device()), v = m.clone();
    vendor::check(cudnnBatchNormalizationForwardTraining(
                      handle, kMode, &kOne, &kZero, desc, in.raw(), desc, out.raw(), parameters,
                      weight.raw(), bias.raw(), 1.0, m.raw(), v.raw(), p.epsilon, nullptr, nullptr),
                  "batch norm");
    mean.copy_from(m.to(DType::f64));
    variance.copy_from(v.to(DType::f64));
    scale_(variance, 1 / unbiasing_factor(p.pixels()));
  } else {
    vendor::check(
        cudnnBatchNormalizationForwardInference(
            handle, kMode, &kOne, &kZero, desc, in.raw(), desc, out.raw(), parameters, weight.raw(),
            bias.raw(), mean.to(DType::f32).raw(), variance.to(DType::f32).raw(), p.epsilon),
        "batch norm");
  }
  if (residual.defined()) add_(out, map(p, residual));
  if (p.relu) vendor::apply_relu(out);
  y.copy_from(out.reshape(p.shape));
}

void backward(const BatchNormProblem& p, const Tensor& dy, const Tensor& x, const Tensor& y,
              const Tensor& weight, const Tensor& bias, const Tensor& mean, const Tensor& variance,
              const Tensor& dx, const Tensor& dresidual, const Tensor& dweight,
              const Tensor& dbias) {
  if (p.pixels() == 0 || !p.training) {
    cuda().backward(p, dy, x, y, weight, bias, mean, variance, dx, dresidual, dweight, dbias);
    return;
  }
  const Tensor in = map(p, x), out = Tensor::empty(in.shape(), p.dtype, x.device());
  const Tensor dz = p.relu ? vendor::relu_gradient(map(p, dy), map(p, y)) : map(p, dy);
  const TensorDescriptor desc(in);
  const ParameterDescriptor parameters(desc);
  const Tensor dw = Tensor::empty({p.channels()}, DType::f32, x.device()), db = dw.clone();
  vendor::check(cudnnBatchNormalizationBackward(vendor::cudnn(x.device()), kMode, &kOne, &kZero,
                                                &kOne, &kZero, desc, in.raw(), desc, dz.raw(), desc,
                                                out.raw(), parameters, weight.raw(), dw.raw(),
                                                db.raw(), p.epsilon, nullptr, nullptr),
                "batch norm's gradient");
  if (dresidual.defined()) dresidual.copy_from(dz.reshape(p.shape));
  if (dx.defined()) dx.copy_from(out.reshape(p.shape));
  if (dweight.defined()) dweight.copy_from(dw);
  if (dbias.defined()) dbias.copy_from(db);
}

void update_running(const Tensor& mean, const Tensor& variance, std::int64_t count, double momentum,
                    const Tensor& running_mean, const Tensor& running_var) {
  cuda().update_running(mean, variance, count, momentum, running_mean, running_var);
}

// Never the default: it is chosen by name. A variance of one value has no unbiased estimate.
int priority(const BatchNormProblem& p) {
  if (p.training && p.pixels() == 1) return -1;
  return p.dtype == DType::f32 || p.dtype == DType::f16 || p.dtype == DType::bf16 ? 0 : -1;
}

}  // namespace

THORAX_PROVIDER(batch_norm_cudnn, batch_norm_providers(),
                {.name = "cudnn",
                 .device = DeviceKind::cuda,
                 .priority = priority,
                 .forward = forward,
                 .backward = backward,
                 .update_running = update_running});

}  // namespace thorax

#endif
