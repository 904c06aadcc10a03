// DenseNet for image classification. Huang et al., "Densely connected convolutional networks", CVPR
// 2017 (DenseNet-BC); layers, names and shapes as in torchvision's and timm's densenet121,
// densenet169 and densenet201, so that their weights load by name.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/head.h"
#include "models/model.h"

namespace thorax {

struct DensenetConfig {
  std::string name = "densenet121";
  std::int64_t in_channels = 3;
  std::int64_t growth = 32;  // channels that each layer adds; the stem has twice as many
  std::vector<std::int64_t> blocks = {6, 12, 24, 16};  // layers of each dense block
  HeadConfig head;                                     // the ImageNet head is `classifier`
  bool recompute = false;  // keep layer inputs only and compute layers again in the backward pass
};

// Names with a preset, smallest first.
std::vector<std::string> densenet_names();
// The preset of "densenet121", "densenet169" or "densenet201"; with the ImageNet head 7,978,856,
// 14,149,480 and 20,013,928 parameters. Throws Error for another name.
DensenetConfig densenet_preset(const std::string& name);

// Names: features.conv0, features.norm0, features.denseblock{b}.denselayer{l}.{norm1, conv1, norm2,
// conv2}, features.transition{b}.{norm, conv}, features.norm5, classifier.
//
// A dense block is one buffer: what enters it stands at its start and each layer writes its
// `growth` channels behind, so that the input of a layer, the concatenation of all before it, is a
// view. Memory grows with the square of a block's layers all the same, since each keeps its
// normalised input; with `recompute` it grows linearly.
class Densenet : public Model {
 public:
  explicit Densenet(const DensenetConfig& config, std::uint64_t seed = 0);
  // x: N x H x W x in_channels -> N x outputs. H and W at least 29 for four blocks, so that a pixel
  // is left at the end; each transition drops an odd last row or column. Training needs more than
  // one pixel a channel in the last block, over the batch.
  Variable forward(const Variable& x) const override;
  nlohmann::json config() const override;
  std::vector<std::string> head_names() const override { return {"head.*", "classifier.*"}; }

 private:
  struct DenseLayer : Module {
    DenseLayer(std::int64_t in, std::int64_t growth);
    // Batch norm, ReLU, 1x1 to 4 * growth; batch norm, ReLU, 3x3 to `growth` channels, into `out`.
    Variable operator()(const Variable& x, const Tensor& out) const;
    BatchNorm2d norm1;
    ConvBn conv1;  // with norm2
    Conv2d conv2;
  };
  struct Transition : Module {
    Transition(std::int64_t in, std::int64_t out);
    // Batch norm, ReLU, 1x1 convolution and 2x2 average, in another order; into `out`.
    Variable operator()(const Variable& x, const Tensor& out) const;
    BatchNorm2d norm;
    Conv2d conv;
  };
  struct Block {
    std::int64_t in = 0;                              // channels that enter it
    std::vector<std::unique_ptr<DenseLayer>> layers;  // each adds `growth`
    std::unique_ptr<Transition> before;               // null for the first block
  };
  Variable dense_block(const Block& block, const Variable& start, const Tensor& buffer) const;

  DensenetConfig config_;
  ConvBn conv0_;
  std::vector<Block> blocks_;
  BatchNorm2d norm5_;
  ClassifierHead head_;
};

}  // namespace thorax
