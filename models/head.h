// The end of a classifier: from pooled features to logits.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "models/layers.h"

namespace thorax {

class ConfigReader;

enum class HeadKind {
  imagenet,  // one linear layer, named as timm names it
  study,     // `head.fc1`, `head.fc2`, ...: hidden layers with ReLU, dropout before every layer
};

struct HeadConfig {
  HeadKind kind = HeadKind::imagenet;
  std::int64_t outputs = 1000;  // classes; 1 = a single logit for binary cross-entropy
  std::vector<std::int64_t> hidden = {512, 128};  // study head: widths of the hidden layers
  double dropout = 0.5;                           // study head
};

// Reads the keys "head", "outputs" (without it 1000, or 1 with the study's head), "hidden" and
// "dropout". `model` names the network in errors.
HeadConfig read_head(ConfigReader& reader, const std::string& model);
// Adds the same keys to a configuration.
void write_head(nlohmann::json& config, const HeadConfig& head);

// Not a module: the network registers layers() under their names.
class ClassifierHead {
 public:
  // `imagenet_name`: of the one layer ("classifier", "fc"). Throws Error "[model] ..." for numbers
  // that make no head.
  ClassifierHead(const HeadConfig& config, std::int64_t features, const std::string& imagenet_name,
                 const std::string& model);

  using Layer = std::pair<std::string, std::unique_ptr<Linear>>;
  const std::vector<Layer>& layers() const { return layers_; }
  // The last layer's weight, which starts small (layers.h, initialise).
  std::string last_weight() const { return layers_.back().first + ".weight"; }

  // pooled: N x features -> N x outputs. Dropout, when training, draws from (seed, step, layer);
  // `device_step`, if defined, holds the step on a GPU (Model::set_step_on_device).
  Variable operator()(const Variable& pooled, bool training, std::uint64_t seed, std::uint64_t step,
                      const Tensor& device_step) const;

 private:
  HeadConfig config_;
  std::vector<Layer> layers_;
};

}  // namespace thorax
