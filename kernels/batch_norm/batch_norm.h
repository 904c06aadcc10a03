// Batch normalisation over the last axis, with the addition and the activation that follow it in a
// residual network fused in:
//   y = act( (x - mean) / sqrt(variance + epsilon) * weight + bias + residual )
// mean and variance per channel: over all pixels of the batch when training (biased variance), the
// running statistics otherwise. act = ReLU or identity.
// Ioffe and Szegedy, "Batch normalization", ICML 2015; running statistics as PyTorch keeps them.
#pragma once

#include <cstdint>
#include <string>

#include "engine/autograd/variable.h"
#include "engine/registry/registry.h"
#include "kernels/common/channel_parts.h"
#include "kernels/common/precision.h"

namespace thorax {

// Everything that decides which kernel can run; passed whole.
struct BatchNormProblem {
  Shape shape;  // of x, y and residual: rank 2 or more, channels last
  bool training = true;
  bool relu = false;
  bool residual = false;
  double epsilon = 1e-5;
  DType dtype = DType::f32;  // f32, f64, or on GPUs f16 and bf16

  // 16-bit activations have float32 parameters.
  DType parameter_dtype() const { return thorax::parameter_dtype(dtype); }
  std::int64_t channels() const { return shape[-1]; }
  // Values per channel.
  std::int64_t pixels() const { return channels() == 0 ? 0 : shape.numel() / channels(); }
  // "8x112x112x64 training +residual +relu"
  std::string to_string() const;
};

// What a batch norm knows of the channels of x, C elements each, on x's device.
struct BatchNormStatistics {
  // f64. Training: forward writes mean and (biased) variance of x. Evaluation: it reads them. The
  // backward pass reads what forward saw.
  Tensor mean, variance;
  // 3 x C, f32, or undefined: for coefficients that a provider's forward leaves for its backward.
  Tensor coefficients = {};
  // Training, both f32, both f64, or undefined: forward sets
  //   running = (1 - momentum) * running + momentum * batch,
  // with the unbiased variance (times n / (n - 1), n > 1 values per channel), unless x is empty.
  Tensor running_mean = {}, running_var = {};
  double momentum = 0.1;
};

// x, y, residual, dy, dx and dresidual have problem.dtype and may be channel slices. weight, bias,
// dweight and dbias hold `channels` elements of problem.parameter_dtype(). An undefined tensor is
// absent (residual) or not wanted (dx, dresidual, dweight, dbias).
struct BatchNormProvider {
  const char* name;
  DeviceKind device;
  int (*priority)(const BatchNormProblem&);
  // y may be x or residual. Nothing waits for a GPU.
  void (*forward)(const BatchNormProblem&, const Tensor& x, const Tensor& weight,
                  const Tensor& bias, const Tensor& residual, const BatchNormStatistics&,
                  const Tensor& y);
  // The gradients, from x and what forward used and left in the statistics. With ReLU no gradient
  // passes where y <= 0 (y as this provider's forward made it). dx or dresidual (one of them) may
  // be the memory of dy. dresidual is only wanted with ReLU: without, it is dy itself.
  void (*backward)(const BatchNormProblem&, const Tensor& dy, const Tensor& x, const Tensor& y,
                   const Tensor& weight, const Tensor& bias, const BatchNormStatistics&,
                   const Tensor& dx, const Tensor& dresidual, const Tensor& dweight,
                   const Tensor& dbias);
  // Optional. Training forward with the statistics that whoever made x has left: x is not read for
  // them again.
  void (*forward_from_parts)(const BatchNormProblem&, const Tensor& x, const ChannelParts& parts,
                             const Tensor& weight, const Tensor& bias, const Tensor& residual,
                             const BatchNormStatistics&, const Tensor& y) = nullptr;
};

Registry<BatchNormProvider>& batch_norm_providers();

// Whether the provider chosen for a device takes statistics that a convolution left (by name; the
// default ones do not).
bool batch_norm_takes_parts(DeviceKind device);

inline double unbiasing_factor(std::int64_t count) {
  return static_cast<double>(count) / static_cast<double>(count - 1);
}
// The running statistics of a training forward pass of the providers on the CPU, if any are wanted.
void update_running_on_cpu(const BatchNormProblem& problem, const BatchNormStatistics& statistics);

// What a layer keeps between steps; copies share the tensors' memory.
struct BatchNormState {
  Tensor running_mean, running_var;  // C each, both f32 or both f64
  double momentum = 0.1;             // weight of the new batch's statistics
  double epsilon = 1e-5;
};

struct BatchNormOptions {
  bool training = true;
  bool relu = false;
  // Where to write the result: a tensor (or channel slice) of x's shape. Undefined = new memory.
  Tensor out = {};
  // Training: what Conv2dOptions::statistics left of x; used by providers that take it.
  ChannelParts statistics = {};
};

// Throws Error "[batch_norm] ..." naming the shapes when they do not fit, and when training on a
// single value per channel, which has no variance.
BatchNormProblem batch_norm_problem(const Tensor& x, const Tensor& weight, const Tensor& bias,
                                    const BatchNormState& state, const BatchNormOptions& options,
                                    const Tensor& residual);

// Differentiable. x: ... x C, weight and bias: C, residual: as x, or undefined. Training updates
// the running statistics in place (running_var with the unbiased variance), except while a block is
// recomputed and for an empty batch; undefined running statistics are not kept.
Variable batch_norm(const Variable& x, const Variable& weight, const Variable& bias,
                    const BatchNormState& state, const BatchNormOptions& options,
                    const Variable& residual = {});

}  // namespace thorax
