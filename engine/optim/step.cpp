#include "engine/optim/step.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <vector>

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

AdamWValues adamw_values(const AdamWStep& s) {
  const double steps = static_cast<double>(s.step);
  return {1 - s.lr * s.weight_decay, s.lr / (1 - std::pow(s.beta1, steps)),
          1 / std::sqrt(1 - std::pow(s.beta2, steps))};
}

namespace {

void check_values(const char* op, const Tensor& values, const Tensor& parameter) {
  if (!values.defined()) return;
  THORAX_CHECK(parameter.device().kind != DeviceKind::cpu &&
                   values.device() == parameter.device() && values.numel() == 4 &&
                   values.dtype() == DType::f64 && values.contiguous(),
               "[{}] values {} {} on {} for a parameter on {}: four f64 on its GPU are wanted", op,
               values.shape(), name_of(values.dtype()), to_string(values.device()),
               to_string(parameter.device()));
}

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

// True when the step is to be skipped, as far as the host may know.
bool check_flag(const char* op, const Tensor& flag, const Tensor& parameter) {
  if (!flag.defined()) return false;
  THORAX_CHECK(
      flag.numel() == 1 && flag.dtype() == DType::i32 && flag.device() == parameter.device(),
      "[{}] the flag of a step to skip must be one i32 on {}, got {} {} on {}", op,
      to_string(parameter.device()), flag.shape(), name_of(flag.dtype()), to_string(flag.device()));
  return flag.device().kind == DeviceKind::cpu && *flag.data<std::int32_t>() != 0;
}

// Selects by the first step, leaves out empty parameters and runs.
template <class Update, class Providers>
void run(const char* op, const Providers& providers, std::span<const Update> updates,
         const Tensor& found_non_finite) {
  if (updates.empty()) return;
  const Tensor& first = updates.front().parameter;
  for (const Update& update : updates)
    THORAX_CHECK(update.parameter.device() == first.device(),
                 "[{}] parameters on {} and on {} in one step", op, to_string(first.device()),
                 to_string(update.parameter.device()));
  if (check_flag(op, found_non_finite, first)) return;
  std::vector<Update> filled;
  const bool gaps = std::any_of(updates.begin(), updates.end(),
                                [](const Update& u) { return u.parameter.numel() == 0; });
  if (gaps) {
    std::copy_if(updates.begin(), updates.end(), std::back_inserter(filled),
                 [](const Update& u) { return u.parameter.numel() > 0; });
    if (filled.empty()) return;
    updates = filled;
  }
  const ProfileScope scope(op, "step", [&] {
    return updates.size() == 1 ? updates[0].parameter.shape().to_string()
                               : fmt::format("{} parameters", updates.size());
  });
  parameters_changed();
  providers.select(updates[0].step, first.device().kind).run(updates, found_non_finite);
}

}  // namespace

void sgd_step(std::span<const SgdUpdate> updates, const Tensor& found_non_finite) {
  for (const auto& [step, parameter, grad, momentum, values] : updates) {
    check_parameter("sgd", parameter);
    check_values("sgd", values, parameter);
    check_like("sgd", "gradient", grad, parameter);
    THORAX_CHECK(std::isfinite(step.lr) && std::isfinite(step.grad_scale) && step.momentum >= 0 &&
                     step.weight_decay >= 0,
                 "[sgd] learning rate and gradient scale must be finite, momentum and weight decay "
                 "not negative: {}",
                 step.to_string());
    THORAX_CHECK(!step.nesterov || (step.momentum > 0 && step.dampening == 0),
                 "[sgd] Nesterov wants a momentum and no dampening: {}", step.to_string());
    if (step.momentum != 0)
      check_like("sgd", "momentum buffer", momentum, parameter);
    else
      THORAX_CHECK(!momentum.defined(), "[sgd] a momentum buffer without momentum: {}",
                   step.to_string());
  }
  run("sgd", sgd_step_providers(), updates, found_non_finite);
}

void adamw_step(std::span<const AdamWUpdate> updates, const Tensor& found_non_finite) {
  for (const auto& [step, parameter, grad, exp_avg, exp_avg_sq, values] : updates) {
    check_parameter("adamw", parameter);
    check_values("adamw", values, parameter);
    check_like("adamw", "gradient", grad, parameter);
    check_like("adamw", "first moment", exp_avg, parameter);
    check_like("adamw", "second moment", exp_avg_sq, parameter);
    THORAX_CHECK(std::isfinite(step.lr) && std::isfinite(step.grad_scale) && step.beta1 >= 0 &&
                     step.beta1 < 1 && step.beta2 >= 0 && step.beta2 < 1 && step.epsilon >= 0 &&
                     step.weight_decay >= 0 && step.step >= 1,
                 "[adamw] betas must lie in [0, 1), epsilon and weight decay must not be negative "
                 "and steps count from 1: {}",
                 step.to_string());
  }
  run("adamw", adamw_step_providers(), updates, found_non_finite);
}

void sgd_step(const SgdStep& step, const Tensor& parameter, const Tensor& grad,
              const Tensor& momentum) {
  const SgdUpdate update{step, parameter, grad, step.momentum != 0 ? momentum : Tensor{}, {}};
  sgd_step(std::span(&update, 1));
}

void adamw_step(const AdamWStep& step, const Tensor& parameter, const Tensor& grad,
                const Tensor& exp_avg, const Tensor& exp_avg_sq) {
  const AdamWUpdate update{step, parameter, grad, exp_avg, exp_avg_sq, {}};
  adamw_step(std::span(&update, 1));
}

}  // namespace thorax
