// Residual blocks: the trunk of ResNet, and the branches of HRNet.
#pragma once

#include <memory>
#include <vector>

#include "models/layers.h"

namespace thorax {

enum class BlockKind { basic, bottleneck };

// Output channels of a block per `planes`.
constexpr std::int64_t expansion(BlockKind kind) {
  return kind == BlockKind::bottleneck ? 4 : 1;
}

// basic: 3x3, 3x3; bottleneck: 1x1, 3x3, 1x1 (four times as wide at the end); each convolution with
// batch norm, and the last adds the input (through a 1x1 "downsample" where channels or sizes
// differ) before its ReLU. He et al., CVPR 2016; `stride` is that of the first 3x3 convolution, in
// the bottleneck too, as torchvision and timm have it (the paper strides its first 1x1). Names:
// conv1, bn1, ..., downsample.0, downsample.1.
class ResidualBlock : public Module {
 public:
  ResidualBlock(BlockKind kind, std::int64_t in, std::int64_t planes, std::int64_t stride = 1);
  // x: N x H x W x in -> N x ceil(H / stride) x ceil(W / stride) x planes * expansion(kind).
  Variable operator()(const Variable& x) const;

 private:
  std::vector<std::unique_ptr<ConvBn>> layers_;
  std::unique_ptr<ConvBn> downsample_;
};

// Blocks one after the other, named "0", "1", ...; the first has the stride. With `forget`, each is
// recomputed in the backward pass.
class BlockChain : public Module {
 public:
  BlockChain(BlockKind kind, std::int64_t in, std::int64_t planes, std::int64_t blocks,
             std::int64_t stride = 1);
  Variable operator()(const Variable& x, bool forget) const;

 private:
  std::vector<std::unique_ptr<ResidualBlock>> blocks_;
};

}  // namespace thorax
