// The building blocks of HRNet: paths between resolutions, and the module of parallel branches with
// fusion.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/residual.h"

namespace thorax {

// A path between two resolutions: convolutions with batch norm, ReLU after all but perhaps the
// last.
class ConvPath : public Module {
 public:
  // Adds a step; its layers get the names "<prefix>0" (convolution) and "<prefix>1" (batch norm).
  void add(const ConvSpec& spec, const std::string& prefix, bool relu);
  Variable operator()(const Variable& x) const;

 private:
  std::vector<std::pair<std::unique_ptr<ConvBn>, bool>> steps_;
};

// Parallel branches b = 0, 1, ... at 1/2^b of the resolution, each a chain of basic blocks, then
// fusion: output i = ReLU( sum_j f_ij(branch j) ), f_ij = identity for j = i, a 1x1 convolution and
// nearest upsampling for j > i, i - j strided 3x3 convolutions for j < i.
// Wang et al., "Deep high-resolution representation learning", TPAMI 2020.
// Names: branches.{b}.{k}.*, fuse_layers.{i}.{j}.*. Offers (activations.h) the end of each branch,
// <name>.branches.{b}, and each output, <name>.fuse_layers.{i}.
class HrModule : public Module {
 public:
  HrModule(const std::vector<std::int64_t>& channels, std::int64_t blocks);
  std::vector<Variable> operator()(const std::vector<Variable>& branches, bool forget,
                                   const std::string& name) const;

 private:
  std::vector<std::unique_ptr<BlockChain>> branches_;
  std::vector<std::vector<std::unique_ptr<ConvPath>>> fuse_;  // [i][j]; null for i = j
};

}  // namespace thorax
