#include "kernels/batch_norm/batch_norm.h"

namespace thorax {

Registry<BatchNormProvider>& batch_norm_providers() {
  static Registry<BatchNormProvider> registry("batch_norm");
  return registry;
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
  THORAX_CHECK(per_channel(weight) && per_channel(bias) && weight.dtype() == x.dtype() &&
                   bias.dtype() == x.dtype(),
               "[batch_norm] input {} {} wants weight and bias of {} elements of its type, got {} "
               "and {}",
               x.shape(), name_of(x.dtype()), x.channels(), text(weight), text(bias));
  const bool tracked = state.running_mean.defined() || state.running_var.defined();
  THORAX_CHECK(tracked || options.training, "[batch_norm] evaluation needs running statistics");
  THORAX_CHECK(!tracked || (per_channel(state.running_mean) && per_channel(state.running_var)),
               "[batch_norm] input {} wants running statistics of {} elements, got {} and {}",
               x.shape(), x.channels(), text(state.running_mean), text(state.running_var));
  THORAX_CHECK(state.epsilon > 0, "[batch_norm] epsilon {} is not positive", state.epsilon);
  for (const Tensor* given : {&options.out, &residual}) {
    THORAX_CHECK(!given->defined() || (given->shape() == x.shape() && given->dtype() == x.dtype()),
                 "[batch_norm] {} {} {} given for input {} {}",
                 given == &residual ? "residual" : "destination", given->shape(),
                 name_of(given->dtype()), x.shape(), name_of(x.dtype()));
  }
  BatchNormProblem problem;
  problem.shape = x.shape();
  problem.training = options.training;
  problem.relu = options.relu;
  problem.residual = residual.defined();
  problem.epsilon = state.epsilon;
  problem.dtype = x.dtype();
  THORAX_CHECK(!problem.training || problem.pixels() != 1,
               "[batch_norm] training on {}: one value per channel has no variance", x.shape());
  return problem;
}

}  // namespace thorax
