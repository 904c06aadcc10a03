// The fused sum on the tape.
#include "engine/autograd/trace.h"
#include "engine/runtime/profile.h"
#include "kernels/fuse_multires/fuse_multires.h"

namespace thorax {

Variable fuse_multires(const std::vector<Variable>& branches, bool relu) {
  std::vector<Tensor> values;
  for (const Variable& branch : branches) values.push_back(branch.value());
  const FuseProblem problem = fuse_problem(values, relu);
  const ProfileScope scope("fuse_multires", "forward", [&] { return problem.to_string(); });
  const Device device = values[0].device();
  const Tensor y = Tensor::empty(problem.output_shape(), problem.dtype, device);
  fuse_providers().select(problem, device.kind).forward(problem, values, y);
  if (tracing())
    trace_operation(
        {"fuse_multires",
         values,
         y,
         {{"factors", std::vector<std::int64_t>(problem.factors.begin(),
                                                problem.factors.begin() + problem.branches)},
          {"relu", problem.relu}}});
  return record(
      "fuse_multires", y, branches,
      [problem, saved_y = relu ? y : Tensor{}](const Tensor& dy, const std::vector<bool>& needs) {
        const ProfileScope backward_scope("fuse_multires", "backward",
                                          [&] { return problem.to_string(); });
        std::vector<Tensor> grads(needs.size()), coarse(needs.size());
        bool fine = false, any_coarse = false;
        for (std::size_t i = 0; i < needs.size(); ++i) {
          if (!needs[i]) continue;
          if (problem.factors[i] == 1) {
            fine = true;
          } else {
            any_coarse = true;
            coarse[i] = Tensor::empty(problem.branch_shape(static_cast<int>(i)), problem.dtype,
                                      dy.device());
            grads[i] = coarse[i];
          }
        }
        // All branches of full size share one gradient; memory that nobody else sees holds it.
        Tensor masked;
        if (fine && problem.relu)
          masked =
              dy.unique() ? dy : Tensor::empty(problem.output_shape(), problem.dtype, dy.device());
        if (any_coarse || masked.defined())
          fuse_providers()
              .select(problem, dy.device().kind)
              .backward(problem, dy, saved_y, masked, coarse);
        for (std::size_t i = 0; i < needs.size(); ++i)
          if (needs[i] && problem.factors[i] == 1) grads[i] = problem.relu ? masked : dy;
        return grads;
      });
}

}  // namespace thorax
