// A network that runs the steps of an imported graph one after the other.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "models/model.h"

namespace thorax::onnx {

using Values = std::vector<Variable>;

struct Step {
  std::vector<std::size_t> inputs;  // values, by number
  std::size_t output = 0;
  std::function<Variable(const Values& inputs)> compute;
  std::vector<std::size_t> last_use;  // values that nothing reads afterwards
  std::string where;                  // begins the messages of what goes wrong
};

// Filled by the importer (import.cpp). Images are N x H x W x C, as everywhere in this engine.
class ImportedNetwork final : public Model {
 public:
  Variable forward(const Variable& x) const override {
    const NoGrad no_grad;
    Values computed(values);
    computed[input] = x;
    for (const Step& step : steps) {
      Values inputs;
      for (const std::size_t i : step.inputs) inputs.push_back(computed[i]);
      try {
        computed[step.output] = step.compute(inputs);
      } catch (const Error& error) {
        fail("{}: {}", step.where, error.what());
      }
      inputs.clear();
      for (const std::size_t i : step.last_use) computed[i] = {};
    }
    return computed[logits];
  }
  nlohmann::json config() const override { return {{"model", "onnx"}, {"in_channels", channels}}; }
  std::vector<std::string> head_names() const override { return {}; }

  // Registered under its name in the file, once.
  Variable parameter(const std::string& name, Tensor value) {
    return add_parameter(name, std::move(value));
  }
  Tensor buffer(const std::string& name, Tensor value) {
    return add_buffer(name, std::move(value));
  }

  std::vector<Step> steps;
  std::size_t values = 0, input = 0, logits = 0;
  std::int64_t channels = 0;
};

}  // namespace thorax::onnx
