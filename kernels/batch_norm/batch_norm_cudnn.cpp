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

// running = (1 - momentum) * running + momentum * fresh.
void blend(const Tensor& running, const Tensor& fresh, double momentum) {
  const Tensor part = fresh.to(running.dtype());
  scale_(part, momentum);
  scale_(running, 1 - momentum);
  add_(running, part);
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
             const Tensor& residual, const BatchNormStatistics& known, const Tensor& y) {
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
    known.mean.copy_from(m.to(DType::f64));
    known.variance.copy_from(v.to(DType::f64));
    scale_(known.variance, 1 / unbiasing_factor(p.pixels()));
    if (known.running_mean.defined()) {
      blend(known.running_mean, m, known.momentum);
      blend(known.running_var, v, known.momentum);
    }
  } else {
    vendor::check(cudnnBatchNormalizationForwardInference(
                      handle, kMode, &kOne, &kZero, desc, in.raw(), desc, out.raw(), parameters,
                      weight.raw(), bias.raw(), known.mean.to(DType::f32).raw(),
                      known.variance.to(DType::f32).raw(), p.epsilon),
                  "batch norm");
  }
  if (residual.defined()) add_(out, map(p, residual));
  if (p.relu) vendor::apply_relu(out);
  y.copy_from(out.reshape(p.shape));
}

void backward(const BatchNormProblem& p, const Tensor& dy, const Tensor& x, const Tensor& y,
              const Tensor& weight, const Tensor& bias, const BatchNormStatistics& known,
              const Tensor& dx, const Tensor& dresidual, const Tensor& dweight,
              const Tensor& dbias) {
  if (p.pixels() == 0 || !p.training) {
    const BatchNormStatistics without_coefficients{known.mean, known.variance};
    cuda().backward(p, dy, x, y, weight, bias, without_coefficients, dx, dresidual, dweight, dbias);
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

// Never the default: it is chosen by name. A variance of one value has no unbiased estimate.
int priority(const BatchNormProblem& p) {
  if (!vendor::cudnn_here()) return -1;
  if (p.training && p.pixels() == 1) return -1;
  return p.dtype == DType::f32 || p.dtype == DType::f16 || p.dtype == DType::bf16 ? 0 : -1;
}

}  // namespace

THORAX_PROVIDER(batch_norm_cudnn, batch_norm_providers(),
                {.name = "cudnn",
                 .device = DeviceKind::cuda,
                 .priority = priority,
                 .forward = forward,
                 .backward = backward});

}  // namespace thorax

#endif
