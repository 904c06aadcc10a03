// The building blocks of HRNet: residual blocks, and the module of parallel branches with fusion.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "models/layers.h"

namespace thorax {

enum class BlockKind { basic, bottleneck };

// Output channels of a block per `planes`.
constexpr std::int64_t expansion(BlockKind kind) {
  return kind == BlockKind::bottleneck ? 4 : 1;
}

// basic: 3x3, 3x3; bottleneck: 1x1, 3x3, 1x1 (four times as wide at the end); each convolution with
// batch norm, and the last adds the input (through a 1x1 "downsample" where channels differ) before
// its ReLU. He et al., CVPR 2016. Names: conv1, bn1, ..., downsample.0, downsample.1.
class ResidualBlock : public Module {
 public:
  ResidualBlock(BlockKind kind, std::int64_t in, std::int64_t planes);
  Variable operator()(const Variable& x) const;

 private:
  std::vector<std::unique_ptr<ConvBn>> layers_;
  std::unique_ptr<ConvBn> downsample_;
};

// Blocks one after the other, named "0", "1", ...; with `forget`, each is recomputed in the
// backward pass.
class BlockChain : public Module {
 public:
  BlockChain(BlockKind kind, std::int64_t in, std::int64_t planes, std::int64_t blocks);
  Variable operator()(const Variable& x, bool forget) const;

 private:
  std::vector<std::unique_ptr<ResidualBlock>> blocks_;
};

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
// Names: branches.{b}.{k}.*, fuse_layers.{i}.{j}.*.
class HrModule : public Module {
 public:
  HrModule(const std::vector<std::int64_t>& channels, std::int64_t blocks);
  std::vector<Variable> operator()(const std::vector<Variable>& branches, bool forget) const;

 private:
  std::vector<std::unique_ptr<BlockChain>> branches_;
  std::vector<std::vector<std::unique_ptr<ConvPath>>> fuse_;  // [i][j]; null for i = j
};

}  // namespace thorax
