// One training step or inference of a network, as `thorax bench` times and counts it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "engine/optim/optimizer.h"
#include "engine/runtime/device.h"
#include "models/factory.h"

namespace thorax::app {

struct NetworkWork {
  std::string model;  // of models/factory.h
  std::int64_t size = 0, batch = 0;
  bool train = true;  // forward, loss, backward, AdamW as `thorax train` does; else inference
  DType precision = DType::f32;
  bool recompute = false;
  Device device;
};

// Whether a network gives masks, not one score per image and class.
bool gives_masks(const std::string& model);

class NetworkStep {
 public:
  // Parameters are on the device; images and targets have memory and no values.
  explicit NetworkStep(const NetworkWork& work);
  // Images in (-1, 1), a target of zeros and ones.
  void fill();
  // As `thorax train` runs it, without the host's questions: whether gradients overflowed stays on
  // the device, the loss is not read. The first call makes what later ones keep, the optimizer's
  // state.
  void run();

 private:
  NetworkWork work_;
  std::unique_ptr<Model> model_;
  Variable input_;
  Tensor target_;
  std::unique_ptr<Optimizer> optimizer_;
};

}  // namespace thorax::app
