#include "kernels/batch_norm/batch_norm.h"

namespace thorax {

Registry<BatchNormProvider>& batch_norm_providers() {
  static Registry<BatchNormProvider> registry("batch_norm");
  return registry;
}

void update_running_on_cpu(const BatchNormProblem& problem, const BatchNormStatistics& statistics) {
  if (!problem.training || !statistics.running_mean.defined()) return;
  const double momentum = statistics.momentum;
  const auto blend = [&]<class T>(const Tensor& running, const Tensor& batch, T, double factor) {
    T* values = running.data<T>();
    const double* fresh = batch.data<double>();
    for (std::int64_t c = 0; c < running.numel(); ++c)
      values[c] = static_cast<T>((1 - momentum) * static_cast<double>(values[c]) +
                                 momentum * factor * fresh[c]);
  };
  const auto both = [&](auto tag) {
    blend(statistics.running_mean, statistics.mean, tag, 1.0);
    blend(statistics.running_var, statistics.variance, tag, unbiasing_factor(problem.pixels()));
  };
  statistics.running_mean.dtype() == DType::f64 ? both(double{}) : both(float{});
}

std::string BatchNormProblem::to_string() const {
  std::string text = shape.to_string() + (training ? " training" : " eval");
  if (residual) text += " +residual";
  if (relu) text += " +relu";
  if (dtype != DType::f32) text += fmt::format(" {}", name_of(dtype));
  return text;
}

BatchNormProblem batch_norm_problem(const Tensor& x, const Tensor& weight, const Tensor& bias,
                                    const BatchNormState& state, const BatchNormOptions& options,
                                    const Tensor& residual) {
  THORAX_CHECK(x.defined() && x.rank() >= 2,
               "[batch_norm] input must have channels last and rank 2 or more, got {}",
               x.defined() ? x.shape().to_string() : "nothing");
  const auto per_channel = [&](const Tensor& t) {
    return t.defined() && t.rank() == 1 && t.size(0) == x.channels();
  };
  const auto text = [](const Tensor& t) {
    return t.defined() ? t.shape().to_string() : std::string("nothing");
  };
  BatchNormProblem problem;
  problem.dtype = x.dtype();
  const DType parameters = problem.parameter_dtype();
  THORAX_CHECK(per_channel(weight) && per_channel(bias) && weight.dtype() == parameters &&
                   bias.dtype() == parameters,
               "[batch_norm] input {} {} wants weight and bias of {} elements of type {}, got {} "
               "and {}",
               x.shape(), name_of(x.dtype()), x.channels(), name_of(parameters), text(weight),
               text(bias));
  const bool tracked = state.running_mean.defined() || state.running_var.defined();
  THORAX_CHECK(tracked || options.training, "[batch_norm] evaluation needs running statistics");
  THORAX_CHECK(!tracked || (per_channel(state.running_mean) && per_channel(state.running_var)),
               "[batch_norm] input {} wants running statistics of {} elements, got {} and {}",
               x.shape(), x.channels(), text(state.running_mean), text(state.running_var));
  THORAX_CHECK(!tracked || state.running_mean.dtype() == state.running_var.dtype(),
               "[batch_norm] running mean and variance of types {} and {}",
               name_of(state.running_mean.dtype()), name_of(state.running_var.dtype()));
  for (const Tensor* t :
       {&weight, &bias, &state.running_mean, &state.running_var, &options.out, &residual}) {
    THORAX_CHECK(!t->defined() || t->device() == x.device(),
                 "[batch_norm] input {} is on {}, another tensor ({}) on {}", x.shape(),
                 to_string(x.device()), t->shape(), to_string(t->device()));
  }
  THORAX_CHECK(state.epsilon > 0, "[batch_norm] epsilon {} is not positive", state.epsilon);
  for (const Tensor* given : {&options.out, &residual}) {
    THORAX_CHECK(!given->defined() || (given->shape() == x.shape() && given->dtype() == x.dtype()),
                 "[batch_norm] {} {} {} given for input {} {}",
                 given == &residual ? "residual" : "destination", given->shape(),
                 name_of(given->dtype()), x.shape(), name_of(x.dtype()));
  }
  problem.shape = x.shape();
  problem.training = options.training;
  problem.relu = options.relu;
  problem.residual = residual.defined();
  problem.epsilon = state.epsilon;
  THORAX_CHECK(!problem.training || problem.pixels() != 1,
               "[batch_norm] training on {}: one value per channel has no variance", x.shape());
  return problem;
}

bool batch_norm_takes_parts(DeviceKind device) {
  const std::string name = chosen_provider("batch_norm");
  if (name.empty()) return false;
  for (const BatchNormProvider& provider : batch_norm_providers().all())
    if (provider.name == name && provider.device == device)
      return provider.forward_from_parts != nullptr;
  return false;
}

}  // namespace thorax
