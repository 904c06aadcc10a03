// The metadata entries of a checkpoint that say what its network expects, written and read.
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "apps/inference/model_file.h"
#include "engine/io/config.h"
#include "engine/io/json_text.h"
#include "engine/stats/curves.h"

namespace thorax {
namespace {

constexpr const char* kThresholdKey = "thorax.threshold";
constexpr const char* kTemperatureKey = "thorax.temperature";

OperatingThreshold operating_threshold(const ConfigObject& t) {
  return {t.number("threshold", 0, 1), t.number("sensitivity", 0, 1), t.number("specificity", 0, 1),
          t.integer("images", 0)};
}

// One entry for each finding, in their order; without a threshold where validation found none.
void read_thresholds(const std::string& text, const std::string& where, ModelInput& input) {
  const nlohmann::json json = parse_json(text, where);
  const ConfigObject object(json, where);
  for (const ConfigObject& entry : object.objects("findings")) {
    const std::size_t f = input.thresholds.size();
    THORAX_CHECK(f < input.classes.size() && entry.text("finding") == input.classes[f],
                 "[model] {}: does not name the findings {} in their order", where,
                 fmt::join(input.classes, ", "));
    input.thresholds.emplace_back();
    if (entry.has("threshold")) input.thresholds.back() = operating_threshold(entry);
  }
  THORAX_CHECK(input.thresholds.size() == input.classes.size(),
               "[model] {}: has {} thresholds for {} findings", where, input.thresholds.size(),
               input.classes.size());
}

}  // namespace

std::map<std::string, std::string> input_metadata(const ModelInput& input) {
  nlohmann::json json{{"task", input.task},
                      {"size", input.size},
                      {"view", name_of(input.view)},
                      {"classes", input.classes},
                      {"intensity", name_of(input.intensity)}};
  if (input.multilabel)
    json["labels"] = "multi";
  else if (input.classes.size() == 2)
    json["positive"] = input.classes.back();
  if (input.tta != "none") json["tta"] = input.tta;
  if (!input.organs.plain()) json.update(to_json(input.organs));
  return {{kInputKey, dump_json(json)}};
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

std::map<std::string, std::string> temperature_metadata(const TemperatureFit& fit) {
  if (!fit.defined()) return {};
  const nlohmann::json json{{"temperature", fit.temperature}, {"images", fit.images},
                            {"nll_before", fit.nll_before},   {"nll_after", fit.nll_after},
                            {"ece_before", fit.ece_before},   {"ece_after", fit.ece_after}};
  return {{kTemperatureKey, json.dump()}};
}

ModelInput read_model_input(const std::map<std::string, std::string>& metadata,
                            const std::string& name) {
  const auto found = metadata.find(kInputKey);
  THORAX_CHECK(found != metadata.end(),
               "[model] {}: no '{}' in its metadata: not written by thorax train or kfold", name,
               kInputKey);
  const std::string what = fmt::format("{}: metadata '{}'", name, kInputKey);
  const ConfigObject entry(parse_json(found->second, what), what);
  ModelInput input;
  input.task = entry.choice("task", {"segmenter", "classifier"});
  input.size = static_cast<int>(entry.integer("size", kSmallestInput, kLargestInput));
  input.view = parse_view(entry.choice("view", view_names()));
  input.classes = entry.texts_or("classes", {});
  input.intensity =
      parse_intensity(entry.choice_or("intensity", name_of(Intensity::full), intensity_names()));
  input.multilabel = entry.choice_or("labels", "single", {"single", "multi"}) == "multi";
  input.tta = entry.choice_or("tta", "none", {"none", "flip"});
  const bool states = entry.has("positive");
  input.positive_stated = states || input.classes.size() != 2 || input.multilabel;
  if (states)
    THORAX_CHECK(!input.multilabel && input.classes.size() == 2 &&
                     entry.text("positive") == input.classes.back(),
                 "[model] {}: the positive class '{}' is not the last of {}", name,
                 entry.text("positive"), fmt::join(input.classes, ", "));
  if (input.task == "segmenter")
    input.organs = read_organ_outputs(parse_json(found->second, what), what);
  if (const auto text = metadata.find(kThresholdKey); text != metadata.end()) {
    const std::string where = fmt::format("{}: metadata '{}'", name, kThresholdKey);
    const ConfigObject t(parse_json(text->second, where), where);
    input.threshold = operating_threshold(t);
  }
  if (input.multilabel)
    if (const auto text = metadata.find(kThresholdsKey); text != metadata.end())
      read_thresholds(text->second, fmt::format("{}: metadata '{}'", name, kThresholdsKey), input);
  if (const auto text = metadata.find(kTemperatureKey); text != metadata.end()) {
    const std::string where = fmt::format("{}: metadata '{}'", name, kTemperatureKey);
    const ConfigObject t(parse_json(text->second, where), where);
    input.temperature = {t.number("temperature", 1e-3, 1e3), t.integer("images", 0)};
  }
  return input;
}

}  // namespace thorax
