// HRNet's exchange between resolutions: the sum of the branches, the coarser ones repeated to the
// size of the finest, then ReLU:
//   y[n,p,q,c] = act( sum_i branch_i[n, p / factor_i, q / factor_i, c] ),  act = ReLU or identity
// Wang et al., "Deep high-resolution representation learning for visual recognition", TPAMI 2020.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/autograd/variable.h"
#include "engine/registry/registry.h"

namespace thorax {

// Everything that decides which kernel can run; passed whole.
struct FuseProblem {
  static constexpr int kMaxBranches = 4;

  std::int64_t batch = 0, height = 0, width = 0, channels = 0;  // of y
  int branches = 0;
  std::array<std::int64_t, kMaxBranches> factors{};  // at least one is 1
  bool relu = true;
  DType dtype = DType::f32;

  Shape output_shape() const { return {batch, height, width, channels}; }
  Shape branch_shape(int i) const {
    const std::int64_t factor = factors[static_cast<std::size_t>(i)];
    return {batch, height / factor, width / factor, channels};
  }
  // "8x56x56x18 = sum of 1/1 + 1/2 + 1/4 +relu"
  std::string to_string() const;
};

// Tensors may be channel slices, of f32, f64 or on GPUs f16 and bf16 (summed in float). Branches
// are added in their order. The GPUs' provider wants factors whose least common multiple is at
// most 64.
struct FuseProvider {
  const char* name;
  DeviceKind device;
  int (*priority)(const FuseProblem&);
  void (*forward)(const FuseProblem&, std::span<const Tensor> branches, const Tensor& y);
  // dz = dy, with ReLU 0 where y <= 0; undefined = not wanted; it may be dy's memory.
  // grads[i]: the sum of that over each factor x factor block, only wanted (defined) for
  // factors > 1. A branch of factor 1 has the gradient dz itself.
  void (*backward)(const FuseProblem&, const Tensor& dy, const Tensor& y, const Tensor& dz,
                   std::span<const Tensor> grads);
};

Registry<FuseProvider>& fuse_providers();

// Throws Error "[fuse_multires] ..." naming the shapes: 2 to 4 branches of one batch size and
// channel count, each size an equal whole fraction of the largest in both directions.
FuseProblem fuse_problem(std::span<const Tensor> branches, bool relu);

// Differentiable. branches[i]: N x H/f_i x W/f_i x C -> N x H x W x C.
Variable fuse_multires(const std::vector<Variable>& branches, bool relu = true);

}  // namespace thorax
