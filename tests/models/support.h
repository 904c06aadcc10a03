// What several tests of models need.
#pragma once

#include <memory>

#include "bench/peers/hashfill.h"
#include "engine/runtime/allocator.h"
#include "models/factory.h"
#include "tests/support/check.h"

namespace thorax::test {

// An HRNet of every block kind, small enough for a test.
inline nlohmann::json tiny_hrnet() {
  return {{"model", "hrnet_w18"},
          {"stem", 8},
          {"layer1_planes", 4},
          {"layer1_blocks", 2},
          {"width", 4},
          {"head_planes", {4, 4, 8, 8}},
          {"features", 16},
          {"outputs", 3},
          {"stages",
           {{{"modules", 1}, {"blocks", 1}},
            {{"modules", 1}, {"blocks", 1}},
            {{"modules", 1}, {"blocks", 2}}}}};
}

inline nlohmann::json tiny_resnet(const char* block = "bottleneck") {
  return {{"model", "resnet18"}, {"block", block}, {"layers", {1, 2, 1, 1}},
          {"stem", 8},           {"width", 2},     {"outputs", 3}};
}

inline nlohmann::json tiny_densenet() {
  return {{"model", "densenet121"}, {"growth", 4}, {"blocks", {2, 3, 2, 2}}, {"outputs", 3}};
}

// Batch norms that are not the identity: running statistics as after some training.
inline void unsettle(const Model& model) {
  for (const auto& [name, tensor] : model.state_dict()) {
    if (name.ends_with("running_mean"))
      tensor.copy_from(hashfill::uniform(name, tensor.shape(), 0.3));
    if (name.ends_with("running_var")) {
      tensor.copy_from(hashfill::uniform(name, tensor.shape(), 0.5));
      for (std::int64_t i = 0; i < tensor.numel(); ++i) tensor.data<float>()[i] += 1.0f;
    }
  }
  parameters_changed();
}

struct StepResult {
  Tensor logits;
  StateDict grads, state;
  std::size_t peak = 0;  // bytes above what was in use before the step
};

// One forward and backward in train mode, with a fixed gradient of the logits.
inline StepResult one_step(const nlohmann::json& config, const Tensor& input) {
  const auto model = create_model(config);
  hashfill::fill(*model);
  model->set_step(7, 3);
  const Variable x(input);
  Allocator& memory = allocator(Device{});
  memory.reset_peak();
  const std::size_t before = memory.stats().in_use;
  StepResult result;
  {
    const Variable logits = model->forward(x);
    result.logits = logits.value().clone();
    backward(logits, hashfill::uniform("seed", logits.shape(), 1.0));
  }
  result.peak = memory.stats().peak_in_use - before;
  for (const auto& [name, variable] : model->parameters()) result.grads[name] = variable.grad();
  result.state = model->state_dict();
  return result;
}

inline bool same(const StateDict& a, const StateDict& b) {
  if (a.size() != b.size()) return false;
  for (const auto& [name, tensor] : a)
    if (!b.contains(name) || !same_values(tensor, b.at(name))) return false;
  return true;
}

}  // namespace thorax::test
