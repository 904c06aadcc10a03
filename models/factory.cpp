#include "models/factory.h"

#include <algorithm>

#include "engine/io/safetensors.h"
#include "models/config_reader.h"
#include "models/hrnet.h"
#include "models/unet.h"

namespace thorax {
namespace {

constexpr const char* kConfigKey = "thorax.model";
constexpr const char* kCheckpointPrefix = "model.";

std::unique_ptr<Model> create_unet(const nlohmann::json& json, std::uint64_t seed) {
  UNetConfig config;
  std::string name;
  ConfigReader reader(json, "'unet'");
  reader.get("model", name);
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
  std::string ignored, head = "imagenet";
  ConfigReader reader(json, fmt::format("'{}'", name));
  reader.get("model", ignored);
  reader.get("head", head);
  THORAX_CHECK(head == "imagenet" || head == "study",
               "[model] '{}': head '{}' is neither 'imagenet' nor 'study'", name, head);
  config.head = head == "study" ? HrnetHead::study : HrnetHead::imagenet;
  config.outputs = config.head == HrnetHead::study ? 1 : 1000;
  reader.get("in_channels", config.in_channels);
  reader.get("outputs", config.outputs);
  reader.get("hidden", config.hidden);
  reader.get("dropout", config.dropout);
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

// A filter over several channels applied to a gray image repeated in each of them = the filter
// summed over its channels.
void adapt_first_filter(StateDict& dict, const StateDict& own) {
  const auto theirs = dict.find("conv1.weight");
  const auto ours = own.find("conv1.weight");
  if (theirs == dict.end() || ours == own.end()) return;
  const Tensor from = theirs->second;
  const Tensor& to = ours->second;
  if (from.rank() != 4 || to.size(3) != 1 || from.size(3) != 3 || from.size(0) != to.size(0) ||
      from.size(1) != to.size(1) || from.size(2) != to.size(2))
    return;
  const Tensor wide = from.to(Device{}).to(DType::f32).to_contiguous();
  const Tensor summed = Tensor::empty(to.shape());
  for (std::int64_t i = 0; i < summed.numel(); ++i) {
    const float* rgb = wide.data<float>() + 3 * i;
    summed.data<float>()[i] = rgb[0] + rgb[1] + rgb[2];
  }
  theirs->second = summed;
}

LoadReport load_dict(const Model& model, StateDict dict, const std::filesystem::path& path,
                     WeightUse use) {
  std::vector<std::string> free;
  if (use == WeightUse::pretrain) {
    free = model.head_names();
    adapt_first_filter(dict, model.state_dict());
    // A head of the same name but another task must not slip in.
    std::erase_if(dict, [&](const auto& entry) {
      return std::any_of(free.begin(), free.end(), [&](const std::string& pattern) {
        return entry.first.starts_with(std::string_view(pattern).substr(0, pattern.size() - 1));
      });
    });
  }
  try {
    return model.load_state_dict(dict, free);
  } catch (const Error& error) {
    fail("[model] {}: {}", path.string(), error.what());
  }
}

}  // namespace

std::vector<std::string> model_names() {
  return {"unet", "hrnet_w18", "hrnet_w32", "hrnet_w48", "hrnet_w18_small_v2"};
}

std::unique_ptr<Model> create_model(const nlohmann::json& config, std::uint64_t seed) {
  THORAX_CHECK(config.is_object() && config.contains("model") && config["model"].is_string(),
               "[model] wants an object with a string under 'model', got {}", config.dump());
  const std::string name = config["model"];
  if (name == "unet") return create_unet(config, seed);
  for (const std::string& known : model_names())
    if (name == known) return create_hrnet(name, config, seed);
  fail("[model] unknown model '{}'; there are: {}", name, fmt::join(model_names(), ", "));
}

LoadReport load_model_weights(const Model& model, const std::filesystem::path& path,
                              WeightUse use) {
  return load_dict(model, load_weights(path), path, use);
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

std::unique_ptr<Model> load_model(const std::filesystem::path& path) {
  const SafetensorsFile file = read_safetensors(path, FileOrder::pytorch);
  const auto entry = file.metadata.find(kConfigKey);
  THORAX_CHECK(entry != file.metadata.end(),
               "[model] {}: no '{}' in its metadata: only weights? Then name the model and load "
               "them into it",
               path.string(), kConfigKey);
  const nlohmann::json config = nlohmann::json::parse(entry->second, nullptr, false);
  THORAX_CHECK(!config.is_discarded(), "[model] {}: '{}' in its metadata is not JSON",
               path.string(), kConfigKey);
  std::unique_ptr<Model> model;
  try {
    model = create_model(config);
  } catch (const Error& error) {
    fail("[model] {}: {}", path.string(), error.what());
  }
  // A training checkpoint keeps the weights under a prefix, beside the optimizer's state.
  const bool checkpoint = std::any_of(file.tensors.begin(), file.tensors.end(), [](const auto& t) {
    return t.first.starts_with(kCheckpointPrefix);
  });
  StateDict dict;
  for (const auto& [name, tensor] : file.tensors) {
    if (!checkpoint) {
      dict[name] = tensor;
    } else if (name.starts_with(kCheckpointPrefix)) {
      dict[name.substr(std::string_view(kCheckpointPrefix).size())] = tensor;
    }
  }
  load_dict(*model, std::move(dict), path, WeightUse::exact);
  model->eval();
  return model;
}

}  // namespace thorax
