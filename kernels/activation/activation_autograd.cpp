// Elementwise functions on the tape.
#include "engine/autograd/trace.h"
#include "engine/runtime/profile.h"
#include "kernels/activation/activation.h"
#include "kernels/activation/unary.h"

namespace thorax {

Variable activation(ActivationKind kind, const Variable& x, double a, double b) {
  THORAX_CHECK(x.defined(), "[{}] no input", name_of(kind));
  const ActivationProblem problem{
      .kind = kind, .shape = x.shape(), .dtype = x.value().dtype(), .a = a, .b = b};
  const ProfileScope scope(name_of(kind), "forward", [&] { return problem.to_string(); });
  const DeviceKind device = x.value().device().kind;
  const Tensor y = Tensor::empty(problem.shape, problem.dtype, x.value().device());
  activation_providers().select(problem, device).forward(problem, x.value(), y);
  if (tracing()) {
    nlohmann::json attributes = nlohmann::json::object();
    if (kind == ActivationKind::affine || kind == ActivationKind::power) attributes["a"] = a;
    if (kind == ActivationKind::affine) attributes["b"] = b;
    trace_operation({std::string(name_of(kind)), {x.value()}, y, attributes});
  }
  if (!needs_grad({x})) return Variable(y);
  // An affine function's gradient needs neither; its own stands in.
  const bool none = kind == ActivationKind::affine;
  const Tensor saved = none ? Tensor{} : differentiated_by_output(kind) ? y : x.value();
  return record(std::string(name_of(kind)), y, {x},
                [problem, device, saved](const Tensor& dy, const std::vector<bool>&) {
                  const Tensor dx = Tensor::empty(problem.shape, problem.dtype, dy.device());
                  activation_providers()
                      .select(problem, device)
                      .backward(problem, dy, saved.defined() ? saved : dy, dx);
                  return std::vector<Tensor>{dx};
                });
}

Variable relu(const Variable& x) {
  return activation(ActivationKind::relu, x);
}
Variable sigmoid(const Variable& x) {
  return activation(ActivationKind::sigmoid, x);
}
Variable affine(const Variable& x, double factor, double shift) {
  return activation(ActivationKind::affine, x, factor, shift);
}
Variable exp(const Variable& x) {
  return activation(ActivationKind::exp, x);
}
Variable log(const Variable& x) {
  return activation(ActivationKind::log, x);
}
Variable sqrt(const Variable& x) {
  return activation(ActivationKind::sqrt, x);
}
Variable abs(const Variable& x) {
  return activation(ActivationKind::abs, x);
}
Variable pow(const Variable& x, double exponent) {
  return activation(ActivationKind::power, x, exponent);
}

}  // namespace thorax
