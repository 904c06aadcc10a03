// Layers with parameters, named as in PyTorch so that state dicts match by name. A layer draws its
// starting values itself, from (seed 0, dotted name), unless `initialise` or draw_parameters does:
// weights before a ReLU Kaiming normal with fan-in, those of transposed convolutions N(0, 1 / in),
// biases 0.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/nn/module.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/conv2d/conv2d.h"

namespace thorax {

struct ConvSpec {
  std::int64_t in = 0, out = 0;
  std::int64_t kernel = 3;
  std::int64_t stride = 1;
  std::int64_t padding = 1;
  bool bias = true;
};
// Odd kernel, padded so that with stride 1 the size stays; without bias unless told, as before a
// batch norm.
inline ConvSpec same_conv(std::int64_t in, std::int64_t out, std::int64_t kernel,
                          std::int64_t stride = 1, bool bias = false) {
  return {.in = in,
          .out = out,
          .kernel = kernel,
          .stride = stride,
          .padding = kernel / 2,
          .bias = bias};
}

// While it lives, the layers made on this thread may have so many weights together; the one with
// which there would be more throws Error before it takes memory. For networks that a file
// describes: a few bytes of text can ask for any size.
class WeightBudget {
 public:
  explicit WeightBudget(std::int64_t weights);
  ~WeightBudget();
  WeightBudget(const WeightBudget&) = delete;
  WeightBudget& operator=(const WeightBudget&) = delete;

 private:
  std::int64_t previous_;
};

// `weight` out x k x k x in (KRSC), `bias` out (or none).
class Conv2d : public Module {
 public:
  explicit Conv2d(const ConvSpec& spec);
  // x: N x H x W x in. `out`, when defined, receives the result (may be a channel slice).
  // `statistics`: see Conv2dOptions.
  Variable operator()(const Variable& x, bool relu = false, const Tensor& out = {},
                      ChannelParts* statistics = nullptr) const;
  const ConvSpec& spec() const { return spec_; }
  // Draws values that are not there yet, for who reads `weight` without a forward pass.
  void prepare() const { ready(); }

 private:
  ConvSpec spec_;

 public:
  Variable weight, bias;
};

// `weight` in x k x k x out, `bias` out; stride = kernel, no padding, so each input pixel becomes a
// k x k block of output pixels.
class ConvTranspose2d : public Module {
 public:
  ConvTranspose2d(std::int64_t in, std::int64_t out, std::int64_t kernel);
  Variable operator()(const Variable& x, const Tensor& out = {}) const;

 private:
  std::int64_t kernel_;

 public:
  Variable weight, bias;
};

// `weight`, `bias`, `running_mean`, `running_var` (C each) and `num_batches_tracked` (i64 scalar).
class BatchNorm2d : public Module {
 public:
  explicit BatchNorm2d(std::int64_t channels, double momentum = 0.1, double epsilon = 1e-5);
  // Training mode normalises with the batch's statistics and updates the running ones; the second
  // run of a recomputed block does not update them again. A layer whose weight and bias require no
  // gradient is frozen (freeze.h): it goes by its running statistics in either mode. residual:
  // added before the ReLU.
  Variable operator()(const Variable& x, bool relu = false, const Variable& residual = {},
                      const Tensor& out = {}, const ChannelParts& statistics = {}) const;
  bool uses_batch_statistics() const {
    return training() && (weight.requires_grad() || bias.requires_grad());
  }
  double momentum() const { return momentum_; }
  double epsilon() const { return epsilon_; }

 private:
  double momentum_, epsilon_;

 public:
  Variable weight, bias;
  Tensor running_mean, running_var, num_batches_tracked;
};

// While one exists on this thread, batch norm layers in training mode give the newest batch this
// weight in their running statistics, instead of their momentum, and do not count the batch.
class NormMomentum {
 public:
  explicit NormMomentum(double momentum);
  ~NormMomentum();
  NormMomentum(const NormMomentum&) = delete;
  NormMomentum& operator=(const NormMomentum&) = delete;

 private:
  double previous_;
};

// y = x W^T + b; `weight` out x in, `bias` out.
class Linear : public Module {
 public:
  Linear(std::int64_t in, std::int64_t out);
  Variable operator()(const Variable& x, bool relu = false) const;
  Variable weight, bias;
};

// A convolution followed by batch norm, then optionally "+ residual" and ReLU. Not a module: the
// two layers are registered by the owner under PyTorch's names ("conv1" and "bn1", or
// "downsample.0" and "downsample.1").
//
// In training mode, or with gradients on, it runs conv2d and then one fused batch norm. In eval
// mode with gradients off it runs a single convolution: y = conv(x, s w) + (beta + s (b - mean)),
// s = gamma / sqrt(var + epsilon), folded in double and kept until parameters may have changed.
class ConvBn {
 public:
  explicit ConvBn(const ConvSpec& spec) : conv(spec), bn(spec.out) {}
  Variable operator()(const Variable& x, bool relu = true, const Variable& residual = {}) const;

  Conv2d conv;
  BatchNorm2d bn;

 private:
  struct Folded {
    std::uint64_t version = 0;      // parameter_version() at the time of folding
    std::uint64_t fingerprint = 0;  // of the values it was folded from
    Variable weight, bias;
  };
  std::uint64_t fingerprint() const;
  std::shared_ptr<const Folded> folded() const;

  mutable std::mutex mutex_;  // several threads may predict with one model
  mutable std::shared_ptr<const Folded> folded_;
};

// While one exists on this thread, ConvBn does not fold: the first run of a recomputed block has
// gradients off but must give the bits of the second.
class NoFolding {
 public:
  NoFolding();
  ~NoFolding();
  NoFolding(const NoFolding&) = delete;
  NoFolding& operator=(const NoFolding&) = delete;

 private:
  bool previous_;
};

// block(inputs), remembered on the tape as usual, or, when `forget`, recomputed in the backward
// pass. While somebody looks at activations (activations.h) nothing is forgotten: a layer inside
// the block would be offered twice, and first with gradients off.
Variable run_block(bool forget, const std::function<Variable(const std::vector<Variable>&)>& block,
                   const std::vector<Variable>& inputs);

// Starting values from (seed, name): weights of convolutions and linear layers Kaiming normal (He
// et al. 2015, gain sqrt(2)) with fan-in or fan-out, batch norm 1 and 0, every bias 0, running
// statistics 0 and 1. Names in `small` (the last layer, which no ReLU follows) get N(0, 0.01^2).
void initialise(const Module& module, std::uint64_t seed, bool fan_out,
                const std::vector<std::string>& small);

}  // namespace thorax
