#include "apps/model_file.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/io/safetensors.h"
#include "engine/stats/curves.h"

namespace thorax::app {
namespace {
constexpr const char* kKey = "thorax.input";
constexpr const char* kThresholdKey = "thorax.threshold";
}  // namespace

std::map<std::string, std::string> input_metadata(const ModelInput& input) {
  nlohmann::json json{{"task", input.task},
                      {"size", input.size},
                      {"view", name_of(input.view)},
                      {"classes", input.classes},
                      {"intensity", name_of(input.intensity)}};
  if (input.classes.size() == 2) json["positive"] = input.classes.back();
  return {{kKey, json.dump()}};
}

std::map<std::string, std::string> threshold_metadata(std::span<const int> labels,
                                                      std::span<const double> probabilities) {
  const OperatingPoint point = youden_point(labels, probabilities);
  // Where no threshold is better than chance none is worth keeping.
  if (!std::isfinite(point.threshold) || !(point.youden() > 0)) return {};
  const nlohmann::json json{{"rule", "youden"},
                            {"threshold", point.threshold},
                            {"sensitivity", point.sensitivity},
                            {"specificity", point.specificity},
                            {"images", labels.size()}};
  return {{kThresholdKey, json.dump()}};
}

ModelInput read_model_input(const std::filesystem::path& checkpoint) {
  const SafetensorsHeader header = read_safetensors_header(checkpoint);
  const auto found = header.metadata.find(kKey);
  THORAX_CHECK(found != header.metadata.end(),
               "[model] {}: no '{}' in its metadata: not written by thorax train or kfold",
               checkpoint.string(), kKey);
  const char* key = kKey;
  try {
    const auto json = nlohmann::json::parse(found->second);
    ModelInput input{json.at("task"),
                     json.at("size"),
                     parse_view(json.at("view").get<std::string>()),
                     json.at("classes"),
                     parse_intensity(json.value("intensity", name_of(Intensity::full))),
                     json.contains("positive"),
                     {}};
    THORAX_CHECK(input.size > 0, "[model] {}: input size {}", checkpoint.string(), input.size);
    THORAX_CHECK(!input.positive_stated ||
                     (input.classes.size() == 2 && json["positive"] == input.classes.back()),
                 "[model] {}: the positive class {} is not the last of {}", checkpoint.string(),
                 json["positive"].dump(), fmt::join(input.classes, ", "));
    if (const auto entry = header.metadata.find(kThresholdKey); entry != header.metadata.end()) {
      key = kThresholdKey;
      const auto t = nlohmann::json::parse(entry->second);
      input.threshold = {t.at("threshold"), t.at("sensitivity"), t.at("specificity"),
                         t.at("images")};
      THORAX_CHECK(input.threshold->threshold >= 0 && input.threshold->threshold <= 1,
                   "[model] {}: threshold {} is no probability", checkpoint.string(),
                   input.threshold->threshold);
    }
    return input;
  } catch (const nlohmann::json::exception& error) {
    fail("[model] {}: metadata '{}' is broken: {}", checkpoint.string(), key, error.what());
  }
}

void normalise(const std::vector<float>& pixels, float* out) {
  for (std::size_t i = 0; i < pixels.size(); ++i)
    out[i] = static_cast<float>((pixels[i] - kInputMean) / kInputDeviation);
}

}  // namespace thorax::app
