// Dropout (Srivastava et al., JMLR 2014), inverted: y[i] = keep[i] ? x[i] / (1 - p) : 0.
// keep[i] depends on (seed, stream, i) alone: word i of the Philox4x32-10 sequence (seed, stream)
// is compared with floor(p * 2^32), so that any device, provider and thread count drops the same
// elements, and the backward pass needs no mask, only the numbers.
#pragma once

#include <cstdint>
#include <string>

#include "engine/autograd/variable.h"
#include "engine/registry/registry.h"

namespace thorax {

struct DropoutProblem {
  Shape shape;
  double p = 0;  // probability of dropping, in [0, 1]
  std::uint64_t seed = 0, stream = 0;
  DType dtype = DType::f32;
  // On a GPU, for calls that are captured as a graph: {1} i64 there. The stream is then
  // stream + *device_step * per_step.
  Tensor device_step = {};
  std::uint64_t per_step = 0;

  // Element i is kept when its word is >= threshold.
  std::uint64_t threshold() const { return static_cast<std::uint64_t>(p * 0x1p32); }
  // Factor for kept elements, rounded to float except for f64; 0 when p = 1.
  double scale() const {
    const double exact = p < 1 ? 1.0 / (1.0 - p) : 0.0;
    return dtype == DType::f64 ? exact : static_cast<double>(static_cast<float>(exact));
  }
  std::string to_string() const;
};

// One function serves both directions: y from x, dx from dy. Any rank; tensors may be channel
// slices (the index i is that of a contiguous copy); the output is overwritten.
struct DropoutProvider {
  const char* name;
  DeviceKind device;
  int (*priority)(const DropoutProblem&);
  void (*run)(const DropoutProblem&, const Tensor& x, const Tensor& y);
};

Registry<DropoutProvider>& dropout_providers();

// The stream of a layer in a step: step * per_step + layer. `device_step`, if defined, holds the
// step as {1} i64 on the input's device (a GPU), and is read when the kernel runs.
struct DropoutStep {
  std::uint64_t step = 0, per_step = 1, layer = 0;
  Tensor device_step = {};
};

// Differentiable, f32, f64 or on GPUs f16 and bf16. Gives x itself when not training or p = 0.
// Every call that shall draw its own pattern needs its own (seed, stream), e.g. stream = step *
// layers + layer. Throws Error
// "[dropout] ..." for p outside [0, 1], and while a graph is captured without a `device_step`:
// every replay would drop the same elements.
Variable dropout(const Variable& x, double p, bool training, std::uint64_t seed,
                 std::uint64_t stream);
Variable dropout(const Variable& x, double p, bool training, std::uint64_t seed,
                 const DropoutStep& step);

}  // namespace thorax
