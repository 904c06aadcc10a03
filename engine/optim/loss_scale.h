// Dynamic loss scaling for gradients kept in 16 bits (Micikevicius et al., "Mixed precision
// training", ICLR 2018): the loss is multiplied by a scale so that small gradients do not vanish in
// float16, and the optimizer divides it out again. The scale rises as long as nothing overflows.
//
//   backward(loss, scale.scale())              gradients times the scale
//   SquareSum all = grad_squares(parameters)   one pass; nothing waits
//   optimizer.step(lr, 1 / scale.scale(), all.non_finite)
//   const bool overflow = all.non_finite.item() != 0
//   if (overflow) optimizer.take_back_step();
//   scale.update(overflow);
#pragma once

#include <cstdint>

#include "engine/io/config.h"
#include "engine/nn/module.h"

namespace thorax {

// Powers of two scale exactly: no digit of a gradient changes.
struct LossScaleOptions {
  double initial = 65536;
  double growth = 2;             // > 1, after `interval` steps without overflow
  double backoff = 0.5;          // in (0, 1), after an overflow
  std::int64_t interval = 2000;  // steps
  double smallest = 1;           // an overflow at this scale is an error: the model diverges
  double largest = 16777216;     // 2^24
};

class LossScale {
 public:
  // Throws Error "[loss_scale] ..." for options that make no sense.
  explicit LossScale(const LossScaleOptions& options = {});
  double scale() const;
  std::int64_t good_steps() const;  // since the scale last changed
  // After every step: whether a gradient was not finite (the step was skipped then). Throws Error
  // "[loss_scale] ..." for an overflow at the smallest scale.
  void update(bool overflow);

  // "scale" ({1} f64) and "good_steps" ({1} i64), shared with this object, for a checkpoint.
  StateDict state_dict() const;
  // Throws Error "[loss_scale] ..." naming what is missing, unknown or out of range; nothing is
  // changed then.
  void load_state_dict(const StateDict& dict);

 private:
  LossScaleOptions options_;
  Tensor scale_, good_steps_;
};

// From {"initial", "growth", "backoff", "interval", "smallest", "largest"}; other keys are refused.
LossScaleOptions loss_scale_options(const ConfigObject& config);

}  // namespace thorax
