#include "models/head.h"

#include <nlohmann/json.hpp>

#include "kernels/dropout/dropout.h"
#include "models/config_reader.h"

namespace thorax {

HeadConfig read_head(ConfigReader& reader, const std::string& model) {
  HeadConfig head;
  std::string kind = "imagenet";
  reader.get("head", kind);
  THORAX_CHECK(kind == "imagenet" || kind == "study",
               "[model] '{}': head '{}' is neither 'imagenet' nor 'study'", model, kind);
  if (kind == "study") {
    head.kind = HeadKind::study;
    head.outputs = 1;
  }
  reader.get("outputs", head.outputs);
  reader.get("hidden", head.hidden);
  reader.get("dropout", head.dropout);
  return head;
}

void write_head(nlohmann::json& config, const HeadConfig& head) {
  config["head"] = head.kind == HeadKind::imagenet ? "imagenet" : "study";
  config["outputs"] = head.outputs;
  config["hidden"] = head.hidden;
  config["dropout"] = head.dropout;
}

ClassifierHead::ClassifierHead(const HeadConfig& config, std::int64_t features,
                               const std::string& imagenet_name, const std::string& model)
    : config_(config) {
  THORAX_CHECK(config.outputs >= 1 && features >= 1,
               "[model] '{}': outputs must be positive, got {} from {} features", model,
               config.outputs, features);
  for (const std::int64_t width : config.hidden)
    THORAX_CHECK(width >= 1, "[model] '{}': hidden widths must be positive, got {}", model, width);
  THORAX_CHECK(config.dropout >= 0 && config.dropout < 1,
               "[model] '{}': dropout {} is outside [0, 1)", model, config.dropout);
  if (config.kind == HeadKind::imagenet) {
    layers_.emplace_back(imagenet_name, std::make_unique<Linear>(features, config.outputs));
    return;
  }
  std::int64_t in = features;
  for (std::size_t i = 0; i <= config.hidden.size(); ++i) {
    const std::int64_t out = i < config.hidden.size() ? config.hidden[i] : config.outputs;
    layers_.emplace_back(fmt::format("head.fc{}", i + 1), std::make_unique<Linear>(in, out));
    in = out;
  }
}

Variable ClassifierHead::operator()(const Variable& pooled, bool training, std::uint64_t seed,
                                    std::uint64_t step, const Tensor& device_step) const {
  if (config_.kind == HeadKind::imagenet) return (*layers_[0].second)(pooled);
  Variable y = pooled;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    y = dropout(y, config_.dropout, training, seed,
                {.step = step, .per_step = layers_.size(), .layer = i, .device_step = device_step});
    y = (*layers_[i].second)(y, /*relu=*/i + 1 < layers_.size());
  }
  return y;
}

}  // namespace thorax
