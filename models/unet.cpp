#include "models/unet.h"

#include "engine/autograd/recompute.h"
#include "kernels/concat/concat.h"
#include "kernels/pool/pool.h"
#include "models/activations.h"

namespace thorax {

UNet::DoubleConv::DoubleConv(std::int64_t in, std::int64_t out)
    : conv1({.in = in, .out = out}), conv2({.in = out, .out = out}) {
  add_module("conv1", conv1);
  add_module("conv2", conv2);
}

Variable UNet::DoubleConv::operator()(const Variable& x, const Tensor& out) const {
  return conv2(conv1(x, true), true, out);
}

UNet::Up::Up(std::int64_t in, std::int64_t out) : DoubleConv(2 * out, out), up(in, out, 2) {
  add_module("up", up);
}

namespace {

const UNetConfig& checked(const UNetConfig& c) {
  THORAX_CHECK(c.in_channels >= 1 && c.out_channels >= 1 && c.width >= 1,
               "[unet] channels and width must be positive: in {}, out {}, width {}", c.in_channels,
               c.out_channels, c.width);
  THORAX_CHECK(c.depth >= 1 && c.depth <= 8, "[unet] depth {} is outside 1..8", c.depth);
  return c;
}

}  // namespace

UNet::UNet(const UNetConfig& config, std::uint64_t seed)
    : config_(checked(config)),
      bottom_(config.width << (config.depth - 1), config.width << config.depth),
      head_({.in = config.width, .out = config.out_channels, .kernel = 1, .padding = 0}) {
  for (std::int64_t i = 0; i < config.depth; ++i) {
    const std::int64_t out = config.width << i;
    down_.push_back(std::make_unique<DoubleConv>(i == 0 ? config.in_channels : out / 2, out));
    add_module(fmt::format("down.{}", i), *down_.back());
  }
  add_module("bottom", bottom_);
  for (std::int64_t i = 0; i < config.depth; ++i) {
    const std::int64_t out = config.width << (config.depth - 1 - i);
    up_.push_back(std::make_unique<Up>(2 * out, out));
    add_module(fmt::format("up.{}", i), *up_.back());
  }
  add_module("head", head_);
  initialise(*this, seed, /*fan_out=*/false, {"head.weight"});
}

nlohmann::json UNet::config() const {
  return {{"model", "unet"},
          {"in_channels", config_.in_channels},
          {"out_channels", config_.out_channels},
          {"width", config_.width},
          {"depth", config_.depth},
          {"recompute", config_.recompute}};
}

Variable UNet::forward(const Variable& x) const {
  const Shape& shape = x.shape();
  THORAX_CHECK(shape.rank() == 4 && shape[3] == config_.in_channels,
               "[unet] input {}: wants N x H x W x {}", shape, config_.in_channels);
  const std::int64_t factor = std::int64_t{1} << config_.depth;
  THORAX_CHECK(shape[1] > 0 && shape[2] > 0 && shape[1] % factor == 0 && shape[2] % factor == 0,
               "[unet] input {}: height and width must be multiples of {} for depth {}", shape,
               factor, config_.depth);
  // One buffer a level holds (upsampled, skip) side by side: the down block writes its half, the
  // transposed convolution the other, and the concatenation is already there.
  std::vector<Tensor> joined;
  std::vector<Variable> skips;
  Variable y = x;
  for (std::int64_t i = 0; i < config_.depth; ++i) {
    const std::int64_t width = config_.width << i;
    joined.push_back(Tensor::empty({shape[0], shape[1] >> i, shape[2] >> i, 2 * width},
                                   x.value().dtype(), x.value().device()));
    const Tensor half = joined.back().channel_slice(width, width);
    y = run_block(config_.recompute,
                  [this, i, half](const std::vector<Variable>& in) {
                    return (*down_[static_cast<std::size_t>(i)])(in[0], half);
                  },
                  {y});
    y = offer_activation(fmt::format("down.{}", i), y);
    skips.push_back(y);
    y = max_pool2d(y, {.kernel = 2, .stride = 2});
  }
  y = run_block(config_.recompute,
                [this](const std::vector<Variable>& in) { return bottom_(in[0]); }, {y});
  y = offer_activation("bottom", y);
  for (std::size_t i = 0; i < up_.size(); ++i) {
    const Tensor buffer = std::move(joined.back());
    const Variable skip = std::move(skips.back());
    joined.pop_back();
    skips.pop_back();
    const Tensor half = buffer.channel_slice(0, buffer.channels() / 2);
    y = run_block(config_.recompute,
                  [&layer = *up_[i], half](const std::vector<Variable>& in) {
                    return layer(concat({layer.up(in[0], half), in[1]}));
                  },
                  {y, skip});
    y = offer_activation(fmt::format("up.{}", i), y);
  }
  return head_(y);
}

}  // namespace thorax
