#include "models/hrnet.h"

#include "kernels/fuse_multires/fuse_multires.h"
#include "kernels/pool/pool.h"
#include "models/activations.h"

namespace thorax {
namespace {

constexpr std::int64_t kStemOut = 64;
constexpr std::size_t kBranches = 4;

const HrnetConfig& checked(const HrnetConfig& c) {
  THORAX_CHECK(c.in_channels >= 1 && c.stem >= 1 && c.layer1_planes >= 1 && c.layer1_blocks >= 1 &&
                   c.width >= 1 && c.features >= 1,
               "[{}] channels and blocks must be positive", c.name);
  THORAX_CHECK(c.stages.size() == kBranches - 1, "[{}] {} stages, wants 3 (2, 3 and 4 branches)",
               c.name, c.stages.size());
  for (const HrnetStage& stage : c.stages)
    THORAX_CHECK(stage.modules >= 1 && stage.blocks >= 1,
                 "[{}] a stage needs modules and blocks, got {} and {}", c.name, stage.modules,
                 stage.blocks);
  THORAX_CHECK(c.head_planes.size() == kBranches, "[{}] {} head_planes, wants one for each of {}",
               c.name, c.head_planes.size(), kBranches);
  for (const std::int64_t planes : c.head_planes)
    THORAX_CHECK(planes >= 1, "[{}] head_planes must be positive", c.name);
  return c;
}

}  // namespace

HrnetConfig hrnet_preset(const std::string& name) {
  HrnetConfig config;
  config.name = name;
  if (name == "hrnet_w18") {
    config.width = 18;
  } else if (name == "hrnet_w32") {
    config.width = 32;
  } else if (name == "hrnet_w48") {
    config.width = 48;
  } else if (name == "hrnet_w18_small_v2") {
    config.width = 18;
    config.layer1_blocks = 2;
    config.stages = {{1, 2}, {3, 2}, {2, 2}};
  } else {
    fail("[hrnet] no preset '{}'; there are: hrnet_w18, hrnet_w32, hrnet_w48, hrnet_w18_small_v2",
         name);
  }
  return config;
}

Hrnet::Hrnet(const HrnetConfig& config, std::uint64_t seed)
    : config_(checked(config)),
      conv1_(same_conv(config.in_channels, config.stem, 3, 2)),
      conv2_(same_conv(config.stem, kStemOut, 3, 2)),
      layer1_(BlockKind::bottleneck, kStemOut, config.layer1_planes, config.layer1_blocks),
      final_layer_(
          {.in = 4 * config.head_planes.back(), .out = config.features, .kernel = 1, .padding = 0}),
      head_(config.head, config.features, "classifier", config.name) {
  add_module("conv1", conv1_.conv);
  add_module("bn1", conv1_.bn);
  add_module("conv2", conv2_.conv);
  add_module("bn2", conv2_.bn);
  add_module("layer1", layer1_);

  std::vector<std::int64_t> before = {4 * config.layer1_planes};
  for (std::size_t s = 0; s < config.stages.size(); ++s) {
    std::vector<std::int64_t> channels;
    for (std::size_t b = 0; b < s + 2; ++b) channels.push_back(config.width << b);
    auto& paths = transitions_.emplace_back();
    for (std::size_t b = 0; b < channels.size(); ++b) {
      std::unique_ptr<ConvPath> path;
      if (b >= before.size()) {  // the new branch: half the resolution of the last one
        path = std::make_unique<ConvPath>();
        path->add(same_conv(before.back(), channels[b], 3, 2), "0.", /*relu=*/true);
      } else if (channels[b] != before[b]) {
        path = std::make_unique<ConvPath>();
        path->add(same_conv(before[b], channels[b], 3, 1), "", /*relu=*/true);
      }
      if (path) add_module(fmt::format("transition{}.{}", s + 1, b), *path);
      paths.push_back(std::move(path));
    }
    auto& modules = stages_.emplace_back();
    for (std::int64_t m = 0; m < config.stages[s].modules; ++m) {
      modules.push_back(std::make_unique<HrModule>(channels, config.stages[s].blocks));
      add_module(fmt::format("stage{}.{}", s + 2, m), *modules.back());
    }
    before = channels;
  }

  for (std::size_t b = 0; b < kBranches; ++b) {
    const std::int64_t planes = config.head_planes[b];
    incre_.push_back(std::make_unique<BlockChain>(BlockKind::bottleneck, before[b], planes, 1));
    add_module(fmt::format("incre_modules.{}", b), *incre_.back());
  }
  for (std::size_t b = 0; b + 1 < kBranches; ++b) {
    downsamp_.push_back(std::make_unique<ConvBn>(
        same_conv(4 * config.head_planes[b], 4 * config.head_planes[b + 1], 3, 2, /*bias=*/true)));
    add_module(fmt::format("downsamp_modules.{}.0", b), downsamp_.back()->conv);
    add_module(fmt::format("downsamp_modules.{}.1", b), downsamp_.back()->bn);
  }
  add_module("final_layer.0", final_layer_.conv);
  add_module("final_layer.1", final_layer_.bn);

  for (const auto& [name, layer] : head_.layers()) add_module(name, *layer);
  initialise(*this, seed, /*fan_out=*/true, {head_.last_weight()});
}

std::vector<Variable> Hrnet::transition(std::size_t stage,
                                        const std::vector<Variable>& from) const {
  std::vector<Variable> to;
  const auto& paths = transitions_[stage];
  for (std::size_t b = 0; b < paths.size(); ++b) {
    const Variable& source = b < from.size() ? from[b] : from.back();
    to.push_back(!paths[b] ? source
                           : run_block(config_.recompute,
                                       [&path = *paths[b]](const std::vector<Variable>& in) {
                                         return path(in[0]);
                                       },
                                       {source}));
  }
  return to;
}

Variable Hrnet::pooled_features(const Variable& x) const {
  const bool forget = config_.recompute;
  Variable y = run_block(
      forget, [this](const std::vector<Variable>& in) { return conv2_(conv1_(in[0])); }, {x});
  y = offer_activation("stem", y);
  std::vector<Variable> branches = {offer_activation("layer1", layer1_(y, forget))};
  y = {};
  for (std::size_t s = 0; s < stages_.size(); ++s) {
    branches = transition(s, branches);
    for (std::size_t m = 0; m < stages_[s].size(); ++m)
      branches = (*stages_[s][m])(branches, forget, fmt::format("stage{}.{}", s + 2, m));
  }
  for (std::size_t b = 0; b < branches.size(); ++b) {
    const Variable wide =
        offer_activation(fmt::format("incre_modules.{}", b), (*incre_[b])(branches[b], forget));
    branches[b] = {};
    if (b == 0) {
      y = wide;
      continue;
    }
    y = run_block(forget,
                  [&down = *downsamp_[b - 1]](const std::vector<Variable>& in) {
                    return fuse_multires({in[0], down(in[1])}, /*relu=*/false);
                  },
                  {wide, y});
    y = offer_activation(fmt::format("downsamp_modules.{}", b - 1), y);
  }
  y = run_block(forget, [this](const std::vector<Variable>& in) { return final_layer_(in[0]); },
                {y});
  return global_avg_pool(offer_activation("final_layer", y));
}

Variable Hrnet::forward(const Variable& x) const {
  const Shape& shape = x.shape();
  THORAX_CHECK(shape.rank() == 4 && shape[3] == config_.in_channels,
               "[{}] input {}: wants N x H x W x {}", config_.name, shape, config_.in_channels);
  const auto quarter = [](std::int64_t extent) { return (extent + 3) / 4; };
  THORAX_CHECK(
      shape[1] > 0 && shape[2] > 0 && quarter(shape[1]) % 8 == 0 && quarter(shape[2]) % 8 == 0,
      "[{}] input {}: a quarter of height and width must be a multiple of 8, so that four "
      "resolutions fit on each other (use 224, 256, 512, ...)",
      config_.name, shape);
  return head_(pooled_features(x), training(), seed_, step_, device_step_);
}

nlohmann::json Hrnet::config() const {
  nlohmann::json stages = nlohmann::json::array();
  for (const HrnetStage& stage : config_.stages)
    stages.push_back({{"modules", stage.modules}, {"blocks", stage.blocks}});
  nlohmann::json config = {{"model", config_.name},
                           {"in_channels", config_.in_channels},
                           {"stem", config_.stem},
                           {"layer1_planes", config_.layer1_planes},
                           {"layer1_blocks", config_.layer1_blocks},
                           {"width", config_.width},
                           {"stages", stages},
                           {"head_planes", config_.head_planes},
                           {"features", config_.features},
                           {"recompute", config_.recompute}};
  write_head(config, config_.head);
  return config;
}

}  // namespace thorax
