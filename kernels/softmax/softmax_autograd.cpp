// Softmax on the tape.
#include "engine/autograd/trace.h"
#include "engine/runtime/profile.h"
#include "kernels/permute/permute.h"
#include "kernels/softmax/softmax.h"

namespace thorax {
namespace {

Variable apply(bool log, const Variable& x, int axis) {
  const char* name = log ? "log_softmax" : "softmax";
  THORAX_CHECK(x.defined(), "[{}] no input", name);
  const int rank = x.shape().rank(), own = axis < 0 ? axis + rank : axis;
  THORAX_CHECK(own >= 0 && own < rank, "[{}] axis {} of {}: there are {} axes", name, axis,
               x.shape(), rank);
  if (own != rank - 1) return transpose(apply(log, transpose(x, own, -1), -1), own, -1);
  const SoftmaxProblem problem{.shape = x.shape(), .log = log, .dtype = x.value().dtype()};
  const ProfileScope scope(name, "forward", [&] { return problem.to_string(); });
  const DeviceKind device = x.value().device().kind;
  const Tensor y = Tensor::empty(problem.shape, problem.dtype, x.value().device());
  softmax_providers().select(problem, device).forward(problem, x.value(), y);
  if (tracing()) trace_operation({name, {x.value()}, y, nlohmann::json::object()});
  return record(name, y, {x}, [problem, device, y](const Tensor& dy, const std::vector<bool>&) {
    const Tensor dx = Tensor::empty(problem.shape, problem.dtype, dy.device());
    softmax_providers().select(problem, device).backward(problem, dy, y, dx);
    return std::vector<Tensor>{dx};
  });
}

}  // namespace

Variable softmax(const Variable& x, int axis) {
  return apply(false, x, axis);
}
Variable log_softmax(const Variable& x, int axis) {
  return apply(true, x, axis);
}

}  // namespace thorax
