// The exponential moving average of weights: a smoother network than the last step's.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/nn/module.h"

namespace thorax {

// After update number n (from 1) of the weights w:
//   average = d * average + (1 - d) * w,  d = min(decay, (1 + n) / (10 + n))
// computed in double, kept as the weights are. The average starts as the weights are; d grows from
// 2 / 11 to `decay`, so that a short run does not keep its starting values (as TensorFlow's
// ExponentialMovingAverage with num_updates). Polyak & Juditsky, "Acceleration of stochastic
// approximation by averaging", 1992. Batch norm's running statistics are not averaged: they are to
// be measured for the averaged network (models/norm_statistics.h).
class WeightAverage {
 public:
  // Averages are where the parameters are. Throws Error "[average] ..." unless 0 < decay < 1.
  WeightAverage(std::vector<Module::Named> parameters, double decay);

  // To be called after every optimizer step that took place. Nobody waits for a GPU.
  void update();
  std::int64_t updates() const { return updates_; }

  // Exchanges averages and weights, in place: memory that a graph holds stays where it is.
  void exchange() const;

  // By parameter name; shares memory.
  StateDict averages() const;
  StateDict weights() const;
  // Of a run that goes on: the averages and the weights, as they were after `updates` updates.
  // Throws Error "[average] ..." naming what is missing or of another shape.
  void restore(const StateDict& averages, const StateDict& weights, std::int64_t updates);

 private:
  std::vector<Module::Named> parameters_;
  std::vector<Tensor> averages_;
  double decay_;
  std::int64_t updates_ = 0;
};

// While it lives the parameters hold their averages. Does nothing for nullptr.
class AveragedWeights {
 public:
  explicit AveragedWeights(const WeightAverage* average) : average_(average) {
    if (average_ != nullptr) average_->exchange();
  }
  ~AveragedWeights() {
    if (average_ != nullptr) average_->exchange();
  }
  AveragedWeights(const AveragedWeights&) = delete;
  AveragedWeights& operator=(const AveragedWeights&) = delete;

 private:
  const WeightAverage* average_;
};

// average = keep * average + (1 - keep) * weight; pairs of equal shape, contiguous, f32 or f64, on
// one device.
struct AveragePair {
  Tensor average, weight;
};
// Implemented by weight_average.cu.
using AverageKernel = void (*)(const std::vector<AveragePair>& pairs, double keep);
void register_average_kernel(DeviceKind kind, AverageKernel kernel);

}  // namespace thorax
