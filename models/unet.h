// UNet for lung masks. Ronneberger et al., MICCAI 2015, with the study's widths (its Table 4):
// "same" 3x3 convolutions with ReLU, 2x2 max pooling, 2x2 stride-2 transposed convolutions.
//
// The last layer is a 1x1 convolution whose output is the logits: dice_loss and bce_with_logits
// apply the sigmoid. Table 4 prints a ReLU there; a mask that starts at zero where the logit is
// negative would get no gradient and no probability, so it is not used.
#pragma once

#include <memory>
#include <vector>

#include "models/layers.h"
#include "models/model.h"

namespace thorax {

struct UNetConfig {
  std::int64_t in_channels = 1;
  std::int64_t out_channels = 1;
  std::int64_t width = 32;  // channels of the first block; doubled at each of `depth` poolings
  std::int64_t depth = 4;
  bool recompute = false;  // keep block inputs only and compute blocks again in the backward pass
};

// 32..512 channels, one channel in and out: 7,759,521 parameters. Names: down.{i}.conv1|conv2,
// bottom.conv1|conv2, up.{i}.up|conv1|conv2 (up.0 is the deepest), head. Layers offered
// (activations.h): down.{i}, bottom, up.{i}.
class UNet : public Model {
 public:
  explicit UNet(const UNetConfig& config, std::uint64_t seed = 0);
  // x: N x H x W x in_channels -> N x H x W x out_channels. H and W must be multiples of 2^depth.
  Variable forward(const Variable& x) const override;
  nlohmann::json config() const override;
  std::vector<std::string> head_names() const override { return {"head.*"}; }

 private:
  struct DoubleConv : Module {
    DoubleConv(std::int64_t in, std::int64_t out);
    // Both convolutions with ReLU; `out` receives the result.
    Variable operator()(const Variable& x, const Tensor& out = {}) const;
    Conv2d conv1, conv2;
  };
  struct Up : DoubleConv {
    Up(std::int64_t in, std::int64_t out);
    ConvTranspose2d up;
  };

  UNetConfig config_;
  std::vector<std::unique_ptr<DoubleConv>> down_;
  DoubleConv bottom_;
  std::vector<std::unique_ptr<Up>> up_;
  Conv2d head_;
};

}  // namespace thorax
