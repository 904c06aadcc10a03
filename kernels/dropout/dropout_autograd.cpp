// Dropout on the tape: saves nothing but the numbers that make the pattern.
#include "engine/autograd/trace.h"
#include "engine/runtime/graph.h"
#include "engine/runtime/profile.h"
#include "kernels/dropout/dropout.h"

namespace thorax {

Variable dropout(const Variable& x, double p, bool training, std::uint64_t seed,
                 std::uint64_t stream) {
  return dropout(x, p, training, seed, DropoutStep{.step = stream});
}

Variable dropout(const Variable& x, double p, bool training, std::uint64_t seed,
                 const DropoutStep& step) {
  THORAX_CHECK(x.defined(), "[dropout] no input");
  THORAX_CHECK(p >= 0 && p <= 1, "[dropout] probability {} is not in [0, 1] (input {})", p,
               x.shape());
  if (!training || p == 0) return x;
  const Device device = x.value().device();
  DropoutProblem problem{
      .shape = x.shape(), .p = p, .seed = seed, .stream = 0, .dtype = x.value().dtype()};
  if (const Tensor& there = step.device_step; there.defined()) {
    THORAX_CHECK(device.kind != DeviceKind::cpu && there.device() == device && there.numel() == 1 &&
                     there.dtype() == DType::i64,
                 "[dropout] the step is {} {} on {}; wanted is one i64 on the GPU of the input",
                 there.shape(), name_of(there.dtype()), to_string(there.device()));
    problem.stream = step.layer;
    problem.device_step = there;
    problem.per_step = step.per_step;
  } else {
    THORAX_CHECK(!capturing(device),
                 "[dropout] a graph is being captured, and the step is no tensor on {}: every "
                 "replay would drop the same elements",
                 to_string(device));
    problem.stream = step.step * step.per_step + step.layer;
  }
  const ProfileScope scope("dropout", "forward", [&] { return problem.to_string(); });
  const Tensor y = Tensor::empty(problem.shape, problem.dtype, device);
  dropout_providers().select(problem, device.kind).run(problem, x.value(), y);
  if (tracing()) trace_operation({"dropout", {x.value()}, y, {{"p", p}}});
  return record("dropout", y, {x}, [problem](const Tensor& dy, const std::vector<bool>&) {
    const Tensor dx = Tensor::empty(problem.shape, problem.dtype, dy.device());
    dropout_providers().select(problem, dy.device().kind).run(problem, dy, dx);
    return std::vector<Tensor>{dx};
  });
}

}  // namespace thorax
