#include "engine/optim/step.h"

#include <cmath>

#include "engine/autograd/variable.h"
#include "engine/runtime/profile.h"

namespace thorax {

Registry<SgdStepProvider>& sgd_step_providers() {
  static Registry<SgdStepProvider> registry("sgd");
  return registry;
}

Registry<AdamWStepProvider>& adamw_step_providers() {
  static Registry<AdamWStepProvider> registry("adamw");
  return registry;
}

std::string SgdStep::to_string() const {
  return fmt::format("lr {} momentum {} dampening {} weight decay {}{}{} gradient scale {}", lr,
                     momentum, dampening, weight_decay, nesterov ? " nesterov" : "",
                     first ? " first" : "", grad_scale);
}

std::string AdamWStep::to_string() const {
  return fmt::format("step {} lr {} betas {} {} epsilon {} weight decay {} gradient scale {}", step,
                     lr, beta1, beta2, epsilon, weight_decay, grad_scale);
}

namespace {

void check_parameter(const char* op, const Tensor& parameter) {
  THORAX_CHECK(parameter.defined(), "[{}] no parameter", op);
  THORAX_CHECK(parameter.dtype() == DType::f32 || parameter.dtype() == DType::f64,
               "[{}] parameter {} is {}, not f32 or f64", op, parameter.shape(),
               name_of(parameter.dtype()));
  THORAX_CHECK(parameter.contiguous(), "[{}] parameter {} is a channel slice (pixel stride {})", op,
               parameter.shape(), parameter.pixel_stride());
}

void check_like(const char* op, const char* what, const Tensor& tensor, const Tensor& parameter) {
  THORAX_CHECK(tensor.defined(), "[{}] parameter {} has no {}", op, parameter.shape(), what);
  THORAX_CHECK(tensor.shape() == parameter.shape() && tensor.dtype() == parameter.dtype(),
               "[{}] {} {} {} for parameter {} {}", op, what, tensor.shape(),
               name_of(tensor.dtype()), parameter.shape(), name_of(parameter.dtype()));
  THORAX_CHECK(tensor.device() == parameter.device(), "[{}] {} on {} for a parameter on {}", op,
               what, to_string(tensor.device()), to_string(parameter.device()));
  THORAX_CHECK(tensor.contiguous(), "[{}] {} {} is a channel slice (pixel stride {})", op, what,
               tensor.shape(), tensor.pixel_stride());
}

}  // namespace

void sgd_step(const SgdStep& step, const Tensor& parameter, const Tensor& grad,
              const Tensor& momentum) {
  check_parameter("sgd", parameter);
  check_like("sgd", "gradient", grad, parameter);
  THORAX_CHECK(std::isfinite(step.lr) && std::isfinite(step.grad_scale) && step.momentum >= 0 &&
                   step.weight_decay >= 0,
               "[sgd] learning rate and gradient scale must be finite, momentum and weight decay "
               "not negative: {}",
               step.to_string());
  THORAX_CHECK(!step.nesterov || (step.momentum > 0 && step.dampening == 0),
               "[sgd] Nesterov wants a momentum and no dampening: {}", step.to_string());
  if (step.momentum != 0) check_like("sgd", "momentum buffer", momentum, parameter);
  if (parameter.numel() == 0) return;
  const ProfileScope scope("sgd", "step", [&] { return parameter.shape().to_string(); });
  parameters_changed();
  sgd_step_providers()
      .select(step, parameter.device().kind)
      .run(step, parameter, grad, step.momentum != 0 ? momentum : Tensor{});
}

void adamw_step(const AdamWStep& step, const Tensor& parameter, const Tensor& grad,
                const Tensor& exp_avg, const Tensor& exp_avg_sq) {
  check_parameter("adamw", parameter);
  check_like("adamw", "gradient", grad, parameter);
  check_like("adamw", "first moment", exp_avg, parameter);
  check_like("adamw", "second moment", exp_avg_sq, parameter);
  THORAX_CHECK(std::isfinite(step.lr) && std::isfinite(step.grad_scale) && step.beta1 >= 0 &&
                   step.beta1 < 1 && step.beta2 >= 0 && step.beta2 < 1 && step.epsilon >= 0 &&
                   step.weight_decay >= 0 && step.step >= 1,
               "[adamw] betas must lie in [0, 1), epsilon and weight decay must not be negative "
               "and steps count from 1: {}",
               step.to_string());
  if (parameter.numel() == 0) return;
  const ProfileScope scope("adamw", "step", [&] { return parameter.shape().to_string(); });
  parameters_changed();
  adamw_step_providers()
      .select(step, parameter.device().kind)
      .run(step, parameter, grad, exp_avg, exp_avg_sq);
}

}  // namespace thorax
