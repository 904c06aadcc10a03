#include "models/residual.h"

namespace thorax {

ResidualBlock::ResidualBlock(BlockKind kind, std::int64_t in, std::int64_t planes,
                             std::int64_t stride) {
  const std::int64_t out = planes * expansion(kind);
  const std::vector<ConvSpec> specs =
      kind == BlockKind::basic
          ? std::vector{same_conv(in, planes, 3, stride), same_conv(planes, planes, 3)}
          : std::vector{same_conv(in, planes, 1), same_conv(planes, planes, 3, stride),
                        same_conv(planes, out, 1)};
  for (std::size_t i = 0; i < specs.size(); ++i) {
    layers_.push_back(std::make_unique<ConvBn>(specs[i]));
    add_module(fmt::format("conv{}", i + 1), layers_.back()->conv);
    add_module(fmt::format("bn{}", i + 1), layers_.back()->bn);
  }
  if (in != out || stride != 1) {
    downsample_ = std::make_unique<ConvBn>(same_conv(in, out, 1, stride));
    add_module("downsample.0", downsample_->conv);
    add_module("downsample.1", downsample_->bn);
  }
}

Variable ResidualBlock::operator()(const Variable& x) const {
  const Variable shortcut = downsample_ ? (*downsample_)(x, /*relu=*/false) : x;
  Variable y = x;
  for (std::size_t i = 0; i + 1 < layers_.size(); ++i) y = (*layers_[i])(y);
  return (*layers_.back())(y, /*relu=*/true, shortcut);
}

BlockChain::BlockChain(BlockKind kind, std::int64_t in, std::int64_t planes, std::int64_t blocks,
                       std::int64_t stride) {
  for (std::int64_t i = 0; i < blocks; ++i) {
    blocks_.push_back(std::make_unique<ResidualBlock>(kind, i == 0 ? in : planes * expansion(kind),
                                                      planes, i == 0 ? stride : 1));
    add_module(std::to_string(i), *blocks_.back());
  }
}

Variable BlockChain::operator()(const Variable& x, bool forget) const {
  Variable y = x;
  for (const auto& block : blocks_) {
    y = run_block(forget,
                  [&layer = *block](const std::vector<Variable>& in) { return layer(in[0]); }, {y});
  }
  return y;
}

}  // namespace thorax
