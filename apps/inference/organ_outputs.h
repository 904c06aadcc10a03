// Which organs the outputs of a segmenter are of.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace thorax {

// `organs` is empty for the one organ of masks without names, the lungs, and a sigmoid: then
// everything is as the study has it.
struct OrganOutputs {
  std::vector<std::string> organs;
  std::vector<int> values;  // of each organ in label maps that are written
  bool softmax = false;     // channel 0 is the background; else a sigmoid an organ

  bool plain() const { return organs.empty(); }
  std::int64_t outputs() const {
    return plain() ? 1 : static_cast<std::int64_t>(organs.size()) + (softmax ? 1 : 0);
  }
  bool operator==(const OrganOutputs&) const = default;
};

// "organs", "values", "activation" for configurations and checkpoints; null when plain.
nlohmann::json to_json(const OrganOutputs& organs);
// From an object that may have them. Throws Error naming `where` when they do not fit together.
OrganOutputs read_organ_outputs(const nlohmann::json& json, const std::string& where);

}  // namespace thorax
