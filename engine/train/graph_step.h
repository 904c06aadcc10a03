// A training step as one launch: forward pass, backward pass, clipping and optimizer of a batch,
// captured as a graph (engine/runtime/graph.h) and replayed.
#pragma once

#include <cstdint>
#include <functional>

#include "engine/autograd/variable.h"
#include "engine/optim/optimizer.h"
#include "engine/runtime/graph.h"
#include "engine/runtime/staging.h"
#include "engine/train/batch_source.h"

namespace thorax {

// Kernels in a graph keep their arguments, so that all that changes lies in device memory at fixed
// addresses: the batch, and one block with the loss's seed, the batch's number and a row of numbers
// for every parameter (Optimizer::next_values). Both are copied there before every replay.
//
// The first two steps run launch by launch, to leave behind the memory that the capture will ask
// for; the third is captured. A batch of other shapes (the last, smaller one) runs launch by
// launch; when such shapes stay, they are captured instead. Every way gives the same bits.
class GraphStep {
 public:
  using Loss = std::function<Variable(const Batch&)>;
  struct Options {
    double clip_norm = 0;      // limit of the gradient norm; 0 = none
    bool check_grads = false;  // leave out the step when a gradient is not finite
  };
  // Throws Error "[graph] ..." on the CPU. The optimizer must outlive this; `loss` sees device
  // tensors and may not wait for them.
  GraphStep(Optimizer& optimizer, Device device, Options options, Loss loss);

  // {1} i64 on the device: when the work runs, the number of its batch.
  const Tensor& number() const { return number_; }

  // Gives the device one step over a batch whose tensors are there. `grad_scale` is what gradients
  // are multiplied with, `seed` the gradient of the loss.
  void launch(const Batch& batch, std::uint64_t number, double lr, double grad_scale, double seed);
  struct Result {
    double loss = 0, grad_norm = 0;  // see kStepReport
    bool overflow = false;
  };
  // Of the last launch. Waits for the device.
  Result wait() const;

  std::int64_t captures() const { return captures_; }
  std::int64_t replays() const { return replays_; }
  std::size_t graph_size() const { return graph_.size(); }  // launches, copies and fills

 private:
  void body(const Batch& batch);
  bool holds(const Batch& batch) const;
  void hold(const Batch& batch);
  // False when the memory for it is not there yet.
  bool capture();

  Optimizer& optimizer_;
  Device device_;
  Options options_;
  Loss loss_;
  Staging staging_;
  Tensor block_;  // [rows of values, seed, number], f64
  Tensor number_, report_, skip_;
  Batch inputs_;  // what the graph reads
  Batch other_;   // tensors of the last batch of other shapes, and how many there were in a row
  int others_ = 0, warm_ups_ = 0, failures_ = 0;
  Graph graph_;
  std::int64_t captures_ = 0, replays_ = 0;
};

}  // namespace thorax
