#include "kernels/fuse_multires/fuse_multires.h"

namespace thorax {

Registry<FuseProvider>& fuse_providers() {
  static Registry<FuseProvider> registry("fuse_multires");
  return registry;
}

std::string FuseProblem::to_string() const {
  std::string text = output_shape().to_string() + " = sum of";
  for (int i = 0; i < branches; ++i)
    text += fmt::format("{} 1/{}", i == 0 ? "" : " +", factors[static_cast<std::size_t>(i)]);
  if (relu) text += " +relu";
  if (dtype != DType::f32) text += fmt::format(" {}", name_of(dtype));
  return text;
}

FuseProblem fuse_problem(std::span<const Tensor> branches, bool relu) {
  THORAX_CHECK(branches.size() >= 2 && branches.size() <= FuseProblem::kMaxBranches,
               "[fuse_multires] 2 to {} branches, got {}", FuseProblem::kMaxBranches,
               branches.size());
  FuseProblem p;
  p.branches = static_cast<int>(branches.size());
  p.relu = relu;
  std::string shapes;
  for (const Tensor& b : branches) {
    THORAX_CHECK(b.defined() && b.rank() == 4,
                 "[fuse_multires] branches must be N x H x W x C, got {}",
                 b.defined() ? b.shape().to_string() : "nothing");
    shapes += (shapes.empty() ? "" : ", ") + b.shape().to_string();
    p.height = std::max(p.height, b.size(1));
    p.width = std::max(p.width, b.size(2));
  }
  p.batch = branches[0].size(0);
  p.channels = branches[0].size(3);
  p.dtype = branches[0].dtype();
  for (std::size_t i = 0; i < branches.size(); ++i) {
    const Tensor& b = branches[i];
    THORAX_CHECK(b.size(0) == p.batch && b.size(3) == p.channels && b.dtype() == p.dtype,
                 "[fuse_multires] branches differ in batch, channels or type: {}", shapes);
    const std::int64_t factor = b.size(1) == 0 ? 1 : p.height / b.size(1);
    THORAX_CHECK(b.size(1) * factor == p.height && b.size(2) * factor == p.width,
                 "[fuse_multires] branch {} of {} is no whole fraction of {}x{}", i, shapes,
                 p.height, p.width);
    p.factors[i] = factor;
  }
  return p;
}

}  // namespace thorax
