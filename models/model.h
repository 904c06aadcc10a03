// What every network of this project offers to trainers and programs.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>

#include "engine/nn/module.h"
#include "kernels/cast/cast.h"

namespace thorax {

class Model : public Module {
 public:
  // x: N x H x W x C -> logits: N x H x W x K (segmentation) or N x K (classification), of x's
  // type.
  virtual Variable forward(const Variable& x) const = 0;
  // forward with activations of type `precision` (f32, f16 or bf16): x is cast to it, the logits
  // are cast to f32. Parameters stay f32 and so do batch statistics; sums are made in f32.
  Variable logits(const Variable& x, DType precision) const {
    return cast(forward(cast(x, precision)), DType::f32);
  }
  // Everything needed to build the same network again with create_model (factory.h).
  virtual nlohmann::json config() const = 0;
  // Names that start new when weights come from another task, as load_state_dict patterns.
  virtual std::vector<std::string> head_names() const = 0;

  // Which optimizer step the next forward belongs to. Dropout draws from (seed, step, layer) only,
  // so a resumed run draws what an uninterrupted one would have drawn.
  void set_step(std::uint64_t seed, std::uint64_t step) {
    seed_ = seed;
    step_ = step;
  }
  // The step is read from this tensor, {1} i64 on the model's device, when the forward pass runs
  // there: for passes that are captured as a graph. Undefined: the step of set_step.
  void set_step_on_device(Tensor step) { device_step_ = std::move(step); }

 protected:
  std::uint64_t seed_ = 0, step_ = 0;
  Tensor device_step_;
};

}  // namespace thorax
