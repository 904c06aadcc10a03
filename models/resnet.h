// ResNet for image classification. He et al., "Deep residual learning for image recognition", CVPR
// 2016; layers, names and shapes as in torchvision's and timm's resnet18 ... resnet152, so that
// their weights load by name (the bottleneck's stride is in its 3x3 convolution, as theirs).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/head.h"
#include "models/model.h"
#include "models/residual.h"

namespace thorax {

struct ResnetConfig {
  std::string name = "resnet18";
  std::int64_t in_channels = 3;
  BlockKind block = BlockKind::basic;
  std::vector<std::int64_t> layers = {2, 2, 2, 2};  // blocks of layer1 .. layer4
  std::int64_t stem = 64;                           // channels of the first convolution
  std::int64_t width = 64;  // planes of layer1, doubled at each further layer
  HeadConfig head;          // the ImageNet head is `fc`
  bool recompute = false;   // keep block inputs only and compute blocks again in the backward pass
};

// Names with a preset, smallest first.
std::vector<std::string> resnet_names();
// The preset of "resnet18", "resnet34", "resnet50", "resnet101" or "resnet152"; with the ImageNet
// head 11,689,512, 21,797,672, 25,557,032, 44,549,160 and 60,192,808 parameters. Throws Error for
// another name.
ResnetConfig resnet_preset(const std::string& name);

// Names: conv1, bn1, layer{1..4}.{i}.*, fc.
class Resnet : public Model {
 public:
  explicit Resnet(const ResnetConfig& config, std::uint64_t seed = 0);
  // x: N x H x W x in_channels -> N x outputs, H and W any positive size; layer4 is at 1/32 of it
  // (rounded up). Training needs more than one pixel a channel there, over the batch.
  Variable forward(const Variable& x) const override;
  nlohmann::json config() const override;
  std::vector<std::string> head_names() const override { return {"head.*", "fc.*"}; }

 private:
  ResnetConfig config_;
  ConvBn conv1_;
  std::vector<std::unique_ptr<BlockChain>> layers_;
  ClassifierHead head_;
};

}  // namespace thorax
