#include "models/factory.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/io/config.h"
#include "engine/io/safetensors.h"
#include "models/config_reader.h"
#include "models/densenet.h"
#include "models/hrnet.h"
#include "models/layers.h"
#include "models/resnet.h"
#include "models/unet.h"

namespace thorax {
namespace {

constexpr const char* kConfigKey = "thorax.model";

std::unique_ptr<Model> create_unet(const std::string& name, const nlohmann::json& json,
                                   std::uint64_t seed) {
  UNetConfig config;
  std::string ignored;
  ConfigReader reader(json, fmt::format("'{}'", name));
  reader.get("model", ignored);
  reader.get("in_channels", config.in_channels);
  reader.get("out_channels", config.out_channels);
  reader.get("width", config.width);
  reader.get("depth", config.depth);
  reader.get("recompute", config.recompute);
  reader.finish();
  return std::make_unique<UNet>(config, seed);
}

std::unique_ptr<Model> create_hrnet(const std::string& name, const nlohmann::json& json,
                                    std::uint64_t seed) {
  HrnetConfig config = hrnet_preset(name);
  std::string ignored;
  ConfigReader reader(json, fmt::format("'{}'", name));
  reader.get("model", ignored);
  config.head = read_head(reader, name);
  reader.get("in_channels", config.in_channels);
  reader.get("recompute", config.recompute);
  reader.get("stem", config.stem);
  reader.get("layer1_planes", config.layer1_planes);
  reader.get("layer1_blocks", config.layer1_blocks);
  reader.get("width", config.width);
  reader.get("head_planes", config.head_planes);
  reader.get("features", config.features);
  if (const nlohmann::json stages = reader.nested("stages"); !stages.is_null()) {
    THORAX_CHECK(stages.is_array(), "[model] '{}': 'stages' wants an array, got {}", name,
                 stages.dump());
    config.stages.clear();
    for (const nlohmann::json& entry : stages) {
      HrnetStage stage;
      ConfigReader inner(entry, fmt::format("a stage of '{}'", name));
      inner.get("modules", stage.modules);
      inner.get("blocks", stage.blocks);
      inner.finish();
      config.stages.push_back(stage);
    }
  }
  reader.finish();
  return std::make_unique<Hrnet>(config, seed);
}

std::unique_ptr<Model> create_resnet(const std::string& name, const nlohmann::json& json,
                                     std::uint64_t seed) {
  ResnetConfig config = resnet_preset(name);
  std::string ignored, block = config.block == BlockKind::basic ? "basic" : "bottleneck";
  ConfigReader reader(json, fmt::format("'{}'", name));
  reader.get("model", ignored);
  config.head = read_head(reader, name);
  reader.get("in_channels", config.in_channels);
  reader.get("block", block);
  THORAX_CHECK(block == "basic" || block == "bottleneck",
               "[model] '{}': block '{}' is neither 'basic' nor 'bottleneck'", name, block);
  config.block = block == "basic" ? BlockKind::basic : BlockKind::bottleneck;
  reader.get("layers", config.layers);
  reader.get("stem", config.stem);
  reader.get("width", config.width);
  reader.get("recompute", config.recompute);
  reader.finish();
  return std::make_unique<Resnet>(config, seed);
}

std::unique_ptr<Model> create_densenet(const std::string& name, const nlohmann::json& json,
                                       std::uint64_t seed) {
  DensenetConfig config = densenet_preset(name);
  std::string ignored;
  ConfigReader reader(json, fmt::format("'{}'", name));
  reader.get("model", ignored);
  config.head = read_head(reader, name);
  reader.get("in_channels", config.in_channels);
  reader.get("growth", config.growth);
  reader.get("blocks", config.blocks);
  reader.get("recompute", config.recompute);
  reader.finish();
  return std::make_unique<Densenet>(config, seed);
}

using Create = std::unique_ptr<Model> (*)(const std::string& name, const nlohmann::json& json,
                                          std::uint64_t seed);
struct Family {
  std::vector<std::string> names;
  Create create;
};
const std::vector<Family>& families() {
  static const std::vector<Family> table = {
      {{"unet"}, create_unet},
      {{"hrnet_w18", "hrnet_w32", "hrnet_w48", "hrnet_w18_small_v2"}, create_hrnet},
      {resnet_names(), create_resnet},
      {densenet_names(), create_densenet},
  };
  return table;
}

}  // namespace

std::vector<std::string> segmenter_names() {
  return {"unet"};
}

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const Family& family : families())
    names.insert(names.end(), family.names.begin(), family.names.end());
  return names;
}

std::unique_ptr<Model> create_model(const nlohmann::json& config, std::uint64_t seed) {
  THORAX_CHECK(config.is_object() && config.contains("model") && config["model"].is_string(),
               "[model] wants an object with a string under 'model', got {}", config.dump());
  const std::string name = config["model"];
  for (const Family& family : families())
    if (std::find(family.names.begin(), family.names.end(), name) != family.names.end())
      return family.create(name, config, seed);
  fail("[model] unknown model '{}'; there are: {}", name, fmt::join(model_names(), ", "));
}

std::map<std::string, std::string> model_metadata(const Model& model) {
  return {{kConfigKey, model.config().dump()}};
}

void save_model(const Model& model, const std::filesystem::path& path,
                const std::map<std::string, std::string>& metadata) {
  std::map<std::string, std::string> all = metadata;
  all.merge(model_metadata(model));
  save_weights(path, model.state_dict(), all);
}

ModelFile read_model(const std::filesystem::path& path) {
  WeightFile file = read_weight_file(path);
  const auto entry = file.metadata.find(kConfigKey);
  THORAX_CHECK(entry != file.metadata.end(),
               "[model] {}: no '{}' in its metadata: only weights? Then name the model and load "
               "them into it (thorax weights convert)",
               path.string(), kConfigKey);
  const nlohmann::json config =
      parse_json(entry->second, fmt::format("{}: metadata '{}'", path.string(), kConfigKey));
  StateDict dict = std::move(file.tensors);
  std::int64_t weights = 0;
  for (const auto& [name, tensor] : dict) weights += tensor.numel();
  ModelFile result;
  try {
    // A network that is a little too large is built, so that the error can name what is missing.
    const WeightBudget budget(4 * weights + (1 << 20));
    result.model = create_model(config);
  } catch (const Error& error) {
    fail("[model] {}: {}", path.string(), error.what());
  }
  load_model_weights(*result.model, std::move(dict), path, WeightUse::exact);
  result.model->eval();
  result.metadata = std::move(file.metadata);
  return result;
}

std::unique_ptr<Model> load_model(const std::filesystem::path& path) {
  return read_model(path).model;
}

}  // namespace thorax
