// Learning rate as a function of the step's number.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/io/config.h"

namespace thorax {

struct ScheduleOptions {
  enum class Kind { constant, step, cosine, poly };
  // What the rate is a function of: `steps` changes it with every optimizer step, `epochs` at the
  // start of each epoch only. Milestones and warm-up are counted in it.
  enum class Unit { epochs, steps };

  Kind kind = Kind::constant;
  Unit unit = Unit::epochs;
  double lr = 0.01;                      // the full rate
  double factor = 0.1;                   // step: multiplied in at each milestone
  std::vector<std::int64_t> milestones;  // step: rising positions, counted from 0
  double final_lr = 0;                   // cosine, poly: reached at the end
  double power = 0.9;                    // poly
  std::int64_t warmup = 0;               // linear rise over so many positions
  double warmup_start = 0;               // share of the rate that warm-up rises from
};

// With t = (position - warmup) / (total - warmup), clamped to [0, 1]:
//   constant: lr      step: lr * factor^(milestones <= position)
//   cosine: final + (lr - final) * (1 + cos(pi t)) / 2     poly: final + (lr - final) * (1 -
//   t)^power
// During warm-up (position < warmup) that value (at t = 0) times
//   start + (1 - start) * (position + 1) / warmup.
class Schedule {
 public:
  // Throws Error "[schedule] ..." when a value makes no sense.
  Schedule(const ScheduleOptions& options, std::int64_t steps_per_epoch, std::int64_t total_steps);
  double lr(std::int64_t step) const;
  const ScheduleOptions& options() const { return options_; }

 private:
  ScheduleOptions options_;
  std::int64_t steps_per_epoch_;
  std::int64_t total_;  // positions
};

// From {"name": "constant" | "step" | "cosine" | "poly", "unit": "epochs" | "steps", "lr",
// "warmup", "warmup_start"} and, where the kind has them, "factor", "milestones", "final_lr",
// "power"; other keys are refused.
ScheduleOptions schedule_options(const ConfigObject& config, double default_lr = 0.01);

}  // namespace thorax
