// One fused optimizer step on the parameters of a model: the contract between the optimizers, which
// know no kernels, and the kernels that read every gradient once and write every parameter and its
// state once. All parameters go into one call, so that a GPU needs a handful of launches.
// Semantics are PyTorch's torch.optim.SGD and torch.optim.AdamW (Loshchilov & Hutter, ICLR 2019).
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "engine/registry/registry.h"
#include "engine/tensor/tensor.h"

namespace thorax {

//   g = grad_scale * grad + weight_decay * p
//   m = first ? g : momentum * m + (1 - dampening) * g        (only when momentum != 0)
//   p = p - lr * (momentum == 0 ? g : nesterov ? g + momentum * m : m)
struct SgdStep {
  double lr = 0;
  double momentum = 0;
  double dampening = 0;
  double weight_decay = 0;
  bool nesterov = false;
  bool first = false;     // no step was taken yet: the momentum buffer holds nothing
  double grad_scale = 1;  // 1 / loss scale
  std::string to_string() const;
};

//   g = grad_scale * grad
//   p = p * (1 - lr * weight_decay)
//   m = beta1 * m + (1 - beta1) * g
//   v = beta2 * v + (1 - beta2) * g^2
//   p = p - lr / (1 - beta1^step) * m / (sqrt(v / (1 - beta2^step)) + epsilon)
struct AdamWStep {
  double lr = 0;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;
  std::int64_t step = 1;  // number of this step; the first is 1
  double grad_scale = 1;  // 1 / loss scale
  std::string to_string() const;
};

// What one parameter takes part with. All tensors have the parameter's shape and dtype (f32 or f64)
// and are contiguous. The parameter and the state are updated in place. `momentum` is undefined
// when step.momentum == 0.
//
// `device_values`, on a GPU only: what changes from step to step, {4} f64 there, read when the
// kernel runs instead of `step`, for steps that are captured as a graph. SGD: grad_scale, lr, first
// (0 or 1), unused; AdamW: grad_scale and the three of adamw_values.
struct SgdUpdate {
  SgdStep step;
  Tensor parameter, grad, momentum;
  Tensor device_values = {};
};
struct AdamWUpdate {
  AdamWStep step;
  Tensor parameter, grad, exp_avg, exp_avg_sq;
  Tensor device_values = {};
};

// The numbers that learning rate, weight decay and bias corrections make:
//   p = shrink * p - step_size * m / (sqrt(v) * root_correction + epsilon)
struct AdamWValues {
  double shrink, step_size, root_correction;
};
AdamWValues adamw_values(const AdamWStep& step);

// `updates` are not empty, on one device, and each has at least one element. `found_non_finite`:
// undefined, or {1} i32 on that device: when it is not 0 nothing is changed. (Providers on the CPU
// are never called then: the caller has looked.)
struct SgdStepProvider {
  const char* name;
  DeviceKind device;
  int (*priority)(const SgdStep&);
  void (*run)(std::span<const SgdUpdate> updates, const Tensor& found_non_finite);
};
struct AdamWStepProvider {
  const char* name;
  DeviceKind device;
  int (*priority)(const AdamWStep&);
  void (*run)(std::span<const AdamWUpdate> updates, const Tensor& found_non_finite);
};

Registry<SgdStepProvider>& sgd_step_providers();      // operation "sgd"
Registry<AdamWStepProvider>& adamw_step_providers();  // operation "adamw"

// Check the tensors and run the chosen provider. Throw Error "[sgd] ..." / "[adamw] ..." when
// shapes or dtypes differ, a tensor is a channel slice or on another device than the first
// parameter, the state is missing, or a step's numbers make no sense; nothing is changed then.
void sgd_step(std::span<const SgdUpdate> updates, const Tensor& found_non_finite = {});
void adamw_step(std::span<const AdamWUpdate> updates, const Tensor& found_non_finite = {});
// The same for one parameter.
void sgd_step(const SgdStep& step, const Tensor& parameter, const Tensor& grad,
              const Tensor& momentum = {});
void adamw_step(const AdamWStep& step, const Tensor& parameter, const Tensor& grad,
                const Tensor& exp_avg, const Tensor& exp_avg_sq);

}  // namespace thorax
