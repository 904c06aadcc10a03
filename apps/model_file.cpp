#include "apps/model_file.h"

#include <nlohmann/json.hpp>

#include "engine/io/safetensors.h"

namespace thorax::app {
namespace {
constexpr const char* kKey = "thorax.input";
}

std::map<std::string, std::string> input_metadata(const ModelInput& input) {
  const nlohmann::json json{{"task", input.task},
                            {"size", input.size},
                            {"view", name_of(input.view)},
                            {"classes", input.classes}};
  return {{kKey, json.dump()}};
}

ModelInput read_model_input(const std::filesystem::path& checkpoint) {
  const SafetensorsHeader header = read_safetensors_header(checkpoint);
  const auto found = header.metadata.find(kKey);
  THORAX_CHECK(found != header.metadata.end(),
               "[model] {}: no '{}' in its metadata: not written by thorax train or kfold",
               checkpoint.string(), kKey);
  try {
    const auto json = nlohmann::json::parse(found->second);
    ModelInput input{json.at("task"), json.at("size"),
                     parse_view(json.at("view").get<std::string>()), json.at("classes")};
    THORAX_CHECK(input.size > 0, "[model] {}: input size {}", checkpoint.string(), input.size);
    return input;
  } catch (const nlohmann::json::exception& error) {
    fail("[model] {}: metadata '{}' is broken: {}", checkpoint.string(), kKey, error.what());
  }
}

void normalise(const std::vector<float>& pixels, float* out) {
  for (std::size_t i = 0; i < pixels.size(); ++i)
    out[i] = static_cast<float>((pixels[i] - kInputMean) / kInputDeviation);
}

}  // namespace thorax::app
