// HRNet for image classification. Wang et al., "Deep high-resolution representation learning for
// visual recognition", TPAMI 2020; layers, names and shapes as in timm's hrnet_w18, hrnet_w32,
// hrnet_w48 and hrnet_w18_small_v2, so that their weights load by name.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/head.h"
#include "models/hrnet_blocks.h"
#include "models/model.h"

namespace thorax {

struct HrnetStage {
  std::int64_t modules = 1;
  std::int64_t blocks = 4;  // in each branch
};

struct HrnetConfig {
  std::string name = "hrnet_w18";
  std::int64_t in_channels = 3;
  std::int64_t stem = 64;           // channels of the first convolution; the second has 64
  std::int64_t layer1_planes = 64;  // bottlenecks of 4 * planes channels at a quarter resolution
  std::int64_t layer1_blocks = 4;
  std::int64_t width = 18;                                     // channels of branch b: width * 2^b
  std::vector<HrnetStage> stages = {{1, 4}, {4, 4}, {3, 4}};   // 2, 3 and 4 branches
  std::vector<std::int64_t> head_planes = {32, 64, 128, 256};  // times 4: widths of incre_modules
  std::int64_t features = 2048;  // channels of final_layer, then pooled over the image
  HeadConfig head;               // the ImageNet head is `classifier`
  bool recompute = false;  // keep block inputs only and compute blocks again in the backward pass
};

// The preset of "hrnet_w18", "hrnet_w32", "hrnet_w48" or "hrnet_w18_small_v2"; with the ImageNet
// head 21,299,004, 41,232,680, 77,469,864 and 15,597,464 parameters. Throws Error for another name.
HrnetConfig hrnet_preset(const std::string& name);

class Hrnet : public Model {
 public:
  explicit Hrnet(const HrnetConfig& config, std::uint64_t seed = 0);
  // x: N x H x W x in_channels -> N x outputs. ceil(H / 4) and ceil(W / 4) must be multiples of 8
  // (224, 256, 512, ...). Training needs more than one pixel a channel at 1/32 of the resolution.
  // Layers offered (activations.h): stem, layer1, stage{s}.{m}.branches.{b} (before the fusion) and
  // .fuse_layers.{b} (after it), incre_modules.{b}, downsamp_modules.{b} (sums on the way down),
  // final_layer.
  Variable forward(const Variable& x) const override;
  nlohmann::json config() const override;
  std::vector<std::string> head_names() const override { return {"head.*", "classifier.*"}; }

 private:
  std::vector<Variable> transition(std::size_t stage, const std::vector<Variable>& from) const;
  Variable pooled_features(const Variable& x) const;

  HrnetConfig config_;
  ConvBn conv1_, conv2_;
  BlockChain layer1_;
  std::vector<std::vector<std::unique_ptr<ConvPath>>> transitions_;  // null = identity
  std::vector<std::vector<std::unique_ptr<HrModule>>> stages_;
  std::vector<std::unique_ptr<BlockChain>> incre_;
  std::vector<std::unique_ptr<ConvBn>> downsamp_;
  ConvBn final_layer_;
  ClassifierHead head_;
};

}  // namespace thorax
