#include "kernels/upsample/upsample.h"

#include <limits>

namespace thorax {

Registry<UpsampleProvider>& upsample_providers() {
  static Registry<UpsampleProvider> registry("upsample");
  return registry;
}

std::string UpsampleProblem::to_string() const {
  std::string text =
      fmt::format("{} {} -> {}x{}", mode == UpsampleMode::nearest ? "nearest" : "bilinear",
                  input_shape(), out_height, out_width);
  if (align_corners) text += " align_corners";
  if (dtype != DType::f32) text += fmt::format(" {}", name_of(dtype));
  return text;
}

namespace {

UpsampleProblem problem_of(const Tensor& x) {
  THORAX_CHECK(x.defined() && x.rank() == 4, "[upsample] input must be N x H x W x C, got {}",
               x.defined() ? x.shape().to_string() : "nothing");
  UpsampleProblem p;
  p.batch = x.size(0);
  p.height = x.size(1);
  p.width = x.size(2);
  p.channels = x.size(3);
  p.dtype = x.dtype();
  return p;
}

}  // namespace

UpsampleProblem upsample_nearest_problem(const Tensor& x, std::int64_t factor) {
  UpsampleProblem p = problem_of(x);
  THORAX_CHECK(factor >= 1 && factor <= std::numeric_limits<std::int32_t>::max() &&
                   p.height <= std::numeric_limits<std::int32_t>::max() &&
                   p.width <= std::numeric_limits<std::int32_t>::max(),
               "[upsample] factor {} for input {}", factor, x.shape());
  p.mode = UpsampleMode::nearest;
  p.out_height = p.height * factor;
  p.out_width = p.width * factor;
  return p;
}

UpsampleProblem upsample_bilinear_problem(const Tensor& x, std::int64_t out_height,
                                          std::int64_t out_width, bool align_corners) {
  UpsampleProblem p = problem_of(x);
  THORAX_CHECK(out_height >= 1 && out_width >= 1 && p.height >= 1 && p.width >= 1,
               "[upsample] bilinear {} -> {}x{}: sizes must be positive", x.shape(), out_height,
               out_width);
  p.mode = UpsampleMode::bilinear;
  p.out_height = out_height;
  p.out_width = out_width;
  p.align_corners = align_corners;
  return p;
}

}  // namespace thorax
