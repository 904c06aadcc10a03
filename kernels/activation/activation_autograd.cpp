// Activations on the tape.
#include "engine/autograd/trace.h"
#include "engine/runtime/profile.h"
#include "kernels/activation/activation.h"

namespace thorax {
namespace {

Variable activate(ActivationKind kind, const Variable& x) {
  THORAX_CHECK(x.defined(), "[{}] no input", name_of(kind));
  const ActivationProblem problem{.kind = kind, .shape = x.shape(), .dtype = x.value().dtype()};
  const ProfileScope scope(name_of(kind), "forward", [&] { return problem.to_string(); });
  const DeviceKind device = x.value().device().kind;
  const Tensor y = Tensor::empty(problem.shape, problem.dtype, x.value().device());
  activation_providers().select(problem, device).forward(problem, x.value(), y);
  if (tracing())
    trace_operation({std::string(name_of(kind)), {x.value()}, y, nlohmann::json::object()});
  if (!needs_grad({x})) return Variable(y);
  return record(std::string(name_of(kind)), y, {x},
                [problem, device, y](const Tensor& dy, const std::vector<bool>&) {
                  const Tensor dx = Tensor::empty(problem.shape, problem.dtype, dy.device());
                  activation_providers().select(problem, device).backward(problem, dy, y, dx);
                  return std::vector<Tensor>{dx};
                });
}

}  // namespace

Variable relu(const Variable& x) {
  return activate(ActivationKind::relu, x);
}

Variable sigmoid(const Variable& x) {
  return activate(ActivationKind::sigmoid, x);
}

Variable reshape(const Variable& x, const Shape& shape) {
  THORAX_CHECK(x.defined(), "[reshape] no input");
  const Tensor y = x.value().reshape(shape);
  if (tracing()) trace_operation({"reshape", {x.value()}, y, nlohmann::json::object()});
  return record("reshape", y, {x}, [from = x.shape()](const Tensor& dy, const std::vector<bool>&) {
    return std::vector<Tensor>{dy.to_contiguous().reshape(from)};
  });
}

}  // namespace thorax
