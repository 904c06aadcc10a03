// Dropout on the tape: saves nothing but the numbers that make the pattern.
#include "engine/runtime/profile.h"
#include "kernels/dropout/dropout.h"

namespace thorax {

Variable dropout(const Variable& x, double p, bool training, std::uint64_t seed,
                 std::uint64_t stream) {
  THORAX_CHECK(x.defined(), "[dropout] no input");
  THORAX_CHECK(p >= 0 && p <= 1, "[dropout] probability {} is not in [0, 1] (input {})", p,
               x.shape());
  if (!training || p == 0) return x;
  const DropoutProblem problem{
      .shape = x.shape(), .p = p, .seed = seed, .stream = stream, .dtype = x.value().dtype()};
  const ProfileScope scope("dropout", "forward", [&] { return problem.to_string(); });
  const DeviceKind device = x.value().device().kind;
  const Tensor y = Tensor::empty(problem.shape, problem.dtype, x.value().device());
  dropout_providers().select(problem, device).run(problem, x.value(), y);
  return record("dropout", y, {x}, [problem, device](const Tensor& dy, const std::vector<bool>&) {
    const Tensor dx = Tensor::empty(problem.shape, problem.dtype, dy.device());
    dropout_providers().select(problem, device).run(problem, dy, dx);
    return std::vector<Tensor>{dx};
  });
}

}  // namespace thorax
