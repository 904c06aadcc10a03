// Upsampling on the tape.
#include "engine/autograd/trace.h"
#include "engine/runtime/profile.h"
#include "kernels/upsample/upsample.h"

namespace thorax {
namespace {

Variable upsample(const char* name, const UpsampleProblem& problem, const Variable& x) {
  const ProfileScope scope(name, "forward", [&] { return problem.to_string(); });
  const Device device = x.value().device();
  const Tensor y = Tensor::empty(problem.output_shape(), problem.dtype, device);
  upsample_providers().select(problem, device.kind).forward(problem, x.value(), y);
  if (tracing())
    trace_operation({name,
                     {x.value()},
                     y,
                     {{"size", {problem.out_height, problem.out_width}},
                      {"align_corners", problem.align_corners}}});
  return record(name, y, {x}, [name, problem](const Tensor& dy, const std::vector<bool>&) {
    const ProfileScope backward_scope(name, "backward", [&] { return problem.to_string(); });
    const Tensor dx = Tensor::empty(problem.input_shape(), problem.dtype, dy.device());
    upsample_providers().select(problem, dy.device().kind).backward(problem, dy, dx);
    return std::vector<Tensor>{dx};
  });
}

}  // namespace

Variable upsample_nearest(const Variable& x, std::int64_t factor) {
  return upsample("upsample_nearest", upsample_nearest_problem(x.value(), factor), x);
}

Variable upsample_bilinear(const Variable& x, std::int64_t out_height, std::int64_t out_width,
                           bool align_corners) {
  return upsample("upsample_bilinear",
                  upsample_bilinear_problem(x.value(), out_height, out_width, align_corners), x);
}

}  // namespace thorax
