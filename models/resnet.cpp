#include "models/resnet.h"

#include <fmt/format.h>

#include "kernels/pool/pool.h"
#include "models/activations.h"

namespace thorax {
namespace {

constexpr std::size_t kStages = 4;

struct Preset {
  const char* name;
  BlockKind block;
  std::vector<std::int64_t> layers;
};
// Table 1 of the paper.
const std::vector<Preset>& presets() {
  static const std::vector<Preset> table = {
      {"resnet18", BlockKind::basic, {2, 2, 2, 2}},
      {"resnet34", BlockKind::basic, {3, 4, 6, 3}},
      {"resnet50", BlockKind::bottleneck, {3, 4, 6, 3}},
      {"resnet101", BlockKind::bottleneck, {3, 4, 23, 3}},
      {"resnet152", BlockKind::bottleneck, {3, 8, 36, 3}},
  };
  return table;
}

const ResnetConfig& checked(const ResnetConfig& c) {
  THORAX_CHECK(c.in_channels >= 1 && c.stem >= 1 && c.width >= 1,
               "[{}] channels must be positive: in {}, stem {}, width {}", c.name, c.in_channels,
               c.stem, c.width);
  THORAX_CHECK(c.layers.size() == kStages, "[{}] {} layers, wants {}", c.name, c.layers.size(),
               kStages);
  for (const std::int64_t blocks : c.layers)
    THORAX_CHECK(blocks >= 1 && blocks <= 1000, "[{}] a layer of {} blocks, wants 1 to 1000",
                 c.name, blocks);
  return c;
}

std::int64_t layer_planes(const ResnetConfig& c, std::size_t stage) {
  return c.width << stage;
}

}  // namespace

std::vector<std::string> resnet_names() {
  std::vector<std::string> names;
  for (const Preset& preset : presets()) names.emplace_back(preset.name);
  return names;
}

ResnetConfig resnet_preset(const std::string& name) {
  for (const Preset& preset : presets()) {
    if (name != preset.name) continue;
    ResnetConfig config;
    config.name = name;
    config.block = preset.block;
    config.layers = preset.layers;
    return config;
  }
  fail("[resnet] no preset '{}'; there are: {}", name, fmt::join(resnet_names(), ", "));
}

Resnet::Resnet(const ResnetConfig& config, std::uint64_t seed)
    : config_(checked(config)),
      conv1_(same_conv(config.in_channels, config.stem, 7, 2)),
      head_(config.head, layer_planes(config, kStages - 1) * expansion(config.block), "fc",
            config.name) {
  add_module("conv1", conv1_.conv);
  add_module("bn1", conv1_.bn);
  std::int64_t in = config.stem;
  for (std::size_t s = 0; s < kStages; ++s) {
    layers_.push_back(std::make_unique<BlockChain>(config.block, in, layer_planes(config, s),
                                                   config.layers[s], /*stride=*/s == 0 ? 1 : 2));
    add_module(fmt::format("layer{}", s + 1), *layers_.back());
    in = layer_planes(config, s) * expansion(config.block);
  }
  for (const auto& [name, layer] : head_.layers()) add_module(name, *layer);
  initialise(*this, seed, /*fan_out=*/true, {head_.last_weight()});
  // Each block starts as its shortcut alone: deep networks then train from the first step. Goyal et
  // al., "Accurate, large minibatch SGD", 2017, section 5.1; timm's default.
  const char* last_norm = config.block == BlockKind::basic ? ".bn2.weight" : ".bn3.weight";
  for (const Named& parameter : parameters())
    if (parameter.name.ends_with(last_norm)) parameter.variable.value().fill(0);
  parameters_changed();
}

Variable Resnet::forward(const Variable& x) const {
  const Shape& shape = x.shape();
  THORAX_CHECK(shape.rank() == 4 && shape[3] == config_.in_channels,
               "[{}] input {}: wants N x H x W x {}", config_.name, shape, config_.in_channels);
  THORAX_CHECK(shape[1] > 0 && shape[2] > 0, "[{}] input {}: height and width must be positive",
               config_.name, shape);
  const bool forget = config_.recompute;
  Variable y =
      run_block(forget,
                [this](const std::vector<Variable>& in) {
                  return max_pool2d(conv1_(in[0]), {.kernel = 3, .stride = 2, .padding = 1});
                },
                {x});
  for (std::size_t i = 0; i < layers_.size(); ++i)
    y = offer_activation(fmt::format("layer{}", i + 1), (*layers_[i])(y, forget));
  return head_(global_avg_pool(y), training(), seed_, step_, device_step_);
}

nlohmann::json Resnet::config() const {
  nlohmann::json config = {{"model", config_.name},
                           {"in_channels", config_.in_channels},
                           {"block", config_.block == BlockKind::basic ? "basic" : "bottleneck"},
                           {"layers", config_.layers},
                           {"stem", config_.stem},
                           {"width", config_.width},
                           {"recompute", config_.recompute}};
  write_head(config, config_.head);
  return config;
}

}  // namespace thorax
