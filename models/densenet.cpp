#include "models/densenet.h"

#include <fmt/format.h>

#include "kernels/concat/concat.h"
#include "kernels/pool/pool.h"
#include "models/activations.h"

namespace thorax {
namespace {

constexpr std::int64_t kBottleneck = 4;  // a layer's 1x1 convolution makes this many times `growth`

struct Preset {
  const char* name;
  std::vector<std::int64_t> blocks;
};
// Table 1 of the paper.
const std::vector<Preset>& presets() {
  static const std::vector<Preset> table = {
      {"densenet121", {6, 12, 24, 16}},
      {"densenet169", {6, 12, 32, 32}},
      {"densenet201", {6, 12, 48, 32}},
  };
  return table;
}

const DensenetConfig& checked(const DensenetConfig& c) {
  THORAX_CHECK(c.in_channels >= 1 && c.growth >= 1,
               "[{}] channels must be positive: in {}, growth {}", c.name, c.in_channels, c.growth);
  THORAX_CHECK(c.blocks.size() >= 1 && c.blocks.size() <= 8, "[{}] {} blocks, wants 1 to 8", c.name,
               c.blocks.size());
  for (const std::int64_t layers : c.blocks)
    THORAX_CHECK(layers >= 1 && layers <= 1000, "[{}] a block of {} layers, wants 1 to 1000",
                 c.name, layers);
  return c;
}

// Channels of block b: on entry, and with what its layers add.
std::int64_t channels_in(const DensenetConfig& c, std::size_t b);
std::int64_t channels_out(const DensenetConfig& c, std::size_t b) {
  return channels_in(c, b) + c.blocks[b] * c.growth;
}
std::int64_t channels_in(const DensenetConfig& c, std::size_t b) {
  return b == 0 ? 2 * c.growth : channels_out(c, b - 1) / 2;  // a transition halves
}

// What a convolution or pooling of stride 2 that reaches over the edge leaves.
constexpr std::int64_t half_up(std::int64_t extent) {
  return (extent + 1) / 2;
}

}  // namespace

Densenet::DenseLayer::DenseLayer(std::int64_t in, std::int64_t growth)
    : norm1(in),
      conv1(same_conv(in, kBottleneck * growth, 1)),
      conv2(same_conv(kBottleneck * growth, growth, 3)) {
  add_module("norm1", norm1);
  add_module("conv1", conv1.conv);
  add_module("norm2", conv1.bn);
  add_module("conv2", conv2);
}

Variable Densenet::DenseLayer::operator()(const Variable& x, const Tensor& out) const {
  return conv2(conv1(norm1(x, /*relu=*/true)), /*relu=*/false, out);
}

Densenet::Transition::Transition(std::int64_t in, std::int64_t out)
    : norm(in), conv(same_conv(in, out, 1)) {
  add_module("norm", norm);
  add_module("conv", conv);
}

// The average is taken before the convolution, which the paper has after it: a 1x1 convolution
// without bias and an average over pixels commute, and now the convolution has a quarter of the
// work.
Variable Densenet::Transition::operator()(const Variable& x, const Tensor& out) const {
  return conv(avg_pool2d(norm(x, /*relu=*/true), {.kernel = 2}), /*relu=*/false, out);
}

std::vector<std::string> densenet_names() {
  std::vector<std::string> names;
  for (const Preset& preset : presets()) names.emplace_back(preset.name);
  return names;
}

DensenetConfig densenet_preset(const std::string& name) {
  for (const Preset& preset : presets()) {
    if (name != preset.name) continue;
    DensenetConfig config;
    config.name = name;
    config.blocks = preset.blocks;
    return config;
  }
  fail("[densenet] no preset '{}'; there are: {}", name, fmt::join(densenet_names(), ", "));
}

Densenet::Densenet(const DensenetConfig& config, std::uint64_t seed)
    : config_(checked(config)),
      conv0_(same_conv(config.in_channels, 2 * config.growth, 7, 2)),
      norm5_(channels_out(config, config.blocks.size() - 1)),
      head_(config.head, channels_out(config, config.blocks.size() - 1), "classifier",
            config.name) {
  add_module("features.conv0", conv0_.conv);
  add_module("features.norm0", conv0_.bn);
  for (std::size_t b = 0; b < config.blocks.size(); ++b) {
    Block& block = blocks_.emplace_back();
    block.in = channels_in(config, b);
    if (b > 0) {
      block.before = std::make_unique<Transition>(channels_out(config, b - 1), block.in);
      add_module(fmt::format("features.transition{}", b), *block.before);
    }
    for (std::int64_t l = 0; l < config.blocks[b]; ++l) {
      block.layers.push_back(
          std::make_unique<DenseLayer>(block.in + l * config.growth, config.growth));
      add_module(fmt::format("features.denseblock{}.denselayer{}", b + 1, l + 1),
                 *block.layers.back());
    }
  }
  add_module("features.norm5", norm5_);
  for (const auto& [name, layer] : head_.layers()) add_module(name, *layer);
  initialise(*this, seed, /*fan_out=*/false, {head_.last_weight()});
}

// start: the first block.in channels of the buffer; returns all of it. Concatenating pairwise, not
// all parts at each layer, keeps the backward pass to one addition a layer.
Variable Densenet::dense_block(const Block& block, const Variable& start,
                               const Tensor& buffer) const {
  Variable y = start;
  for (const auto& layer : block.layers) {
    const Tensor place = buffer.channel_slice(y.value().channels(), config_.growth);
    const Variable added = run_block(
        config_.recompute,
        [&layer = *layer, place](const std::vector<Variable>& in) { return layer(in[0], place); },
        {y});
    y = concat({y, added});
  }
  return y;
}

Variable Densenet::forward(const Variable& x) const {
  const Shape& shape = x.shape();
  THORAX_CHECK(shape.rank() == 4 && shape[3] == config_.in_channels,
               "[{}] input {}: wants N x H x W x {}", config_.name, shape, config_.in_channels);
  const std::int64_t least = 4 * (std::int64_t{1} << (blocks_.size() - 1)) - 3;
  THORAX_CHECK(shape[1] >= least && shape[2] >= least,
               "[{}] input {}: height and width must be at least {}, so that a pixel is left after "
               "{} halvings",
               config_.name, shape, least, blocks_.size() + 1);
  const bool forget = config_.recompute;
  std::int64_t height = half_up(half_up(shape[1])), width = half_up(half_up(shape[2]));
  Variable y = x;
  for (std::size_t b = 0; b < blocks_.size(); ++b) {
    const Block& block = blocks_[b];
    if (b > 0) {
      height /= 2;
      width /= 2;
    }
    const Tensor buffer = Tensor::empty({shape[0], height, width, channels_out(config_, b)},
                                        x.value().dtype(), x.value().device());
    const Tensor start = buffer.channel_slice(0, block.in);
    y = run_block(forget,
                  [this, &block, start](const std::vector<Variable>& in) {
                    return block.before
                               ? (*block.before)(in[0], start)
                               : max_pool2d(conv0_(in[0]),
                                            {.kernel = 3, .stride = 2, .padding = 1, .out = start});
                  },
                  {y});
    y = offer_activation(fmt::format("features.denseblock{}", b + 1),
                         dense_block(block, y, buffer));
  }
  y = offer_activation("features.norm5", run_block(forget,
                                                   [this](const std::vector<Variable>& in) {
                                                     return norm5_(in[0], /*relu=*/true);
                                                   },
                                                   {y}));
  return head_(global_avg_pool(y), training(), seed_, step_, device_step_);
}

nlohmann::json Densenet::config() const {
  nlohmann::json config = {{"model", config_.name},
                           {"in_channels", config_.in_channels},
                           {"growth", config_.growth},
                           {"blocks", config_.blocks},
                           {"recompute", config_.recompute}};
  write_head(config, config_.head);
  return config;
}

}  // namespace thorax
