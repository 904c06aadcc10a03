#include "engine/optim/schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "engine/tensor/error.h"

namespace thorax {

Schedule::Schedule(const ScheduleOptions& options, std::int64_t steps_per_epoch,
                   std::int64_t total_steps)
    : options_(options), steps_per_epoch_(steps_per_epoch) {
  THORAX_CHECK(steps_per_epoch > 0 && total_steps >= 0, "[schedule] {} steps per epoch, {} in all",
               steps_per_epoch, total_steps);
  THORAX_CHECK(std::isfinite(options.lr) && options.lr >= 0 && std::isfinite(options.final_lr) &&
                   options.final_lr >= 0 && options.factor >= 0 && options.power >= 0,
               "[schedule] rates, factor and power must not be negative");
  THORAX_CHECK(options.warmup >= 0 && options.warmup_start >= 0 && options.warmup_start <= 1,
               "[schedule] warm-up of {} from {}", options.warmup, options.warmup_start);
  for (std::size_t i = 0; i < options.milestones.size(); ++i)
    THORAX_CHECK(options.milestones[i] > (i == 0 ? -1 : options.milestones[i - 1]),
                 "[schedule] milestones must rise: {}", fmt::join(options.milestones, ", "));
  total_ = options.unit == ScheduleOptions::Unit::steps
               ? total_steps
               : (total_steps + steps_per_epoch - 1) / steps_per_epoch;
}

double Schedule::lr(std::int64_t step) const {
  const ScheduleOptions& o = options_;
  const std::int64_t position =
      o.unit == ScheduleOptions::Unit::steps ? step : step / steps_per_epoch_;
  const std::int64_t rest = std::max<std::int64_t>(total_ - o.warmup, 1);
  const double t =
      std::clamp(static_cast<double>(position - o.warmup) / static_cast<double>(rest), 0.0, 1.0);
  double value = o.lr;
  switch (o.kind) {
    case ScheduleOptions::Kind::constant:
      break;
    case ScheduleOptions::Kind::step:
      for (const std::int64_t milestone : o.milestones)
        if (position >= milestone) value *= o.factor;
      break;
    case ScheduleOptions::Kind::cosine:
      value = o.final_lr + (o.lr - o.final_lr) * (1 + std::cos(std::numbers::pi * t)) / 2;
      break;
    case ScheduleOptions::Kind::poly:
      value = o.final_lr + (o.lr - o.final_lr) * std::pow(1 - t, o.power);
      break;
  }
  if (position < o.warmup) {
    const double share = static_cast<double>(position + 1) / static_cast<double>(o.warmup);
    value *= o.warmup_start + (1 - o.warmup_start) * share;
  }
  return value;
}

ScheduleOptions schedule_options(const ConfigObject& config, double default_lr) {
  using Kind = ScheduleOptions::Kind;
  ScheduleOptions o;
  const std::string name =
      config.choice_or("name", "constant", {"constant", "step", "cosine", "poly"});
  o.kind = name == "step"     ? Kind::step
           : name == "cosine" ? Kind::cosine
           : name == "poly"   ? Kind::poly
                              : Kind::constant;
  o.unit = config.choice_or("unit", "epochs", {"epochs", "steps"}) == "steps"
               ? ScheduleOptions::Unit::steps
               : ScheduleOptions::Unit::epochs;
  o.lr = config.number_or("lr", default_lr, 0);
  o.warmup = config.integer_or("warmup", o.warmup, 0);
  o.warmup_start = config.number_or("warmup_start", o.warmup_start, 0, 1);
  if (o.kind == Kind::step) {
    o.factor = config.number_or("factor", o.factor, 0);
    o.milestones = config.integers_or("milestones", {});
    for (std::size_t i = 0; i < o.milestones.size(); ++i)
      if (o.milestones[i] <= (i == 0 ? -1 : o.milestones[i - 1]))
        config.refuse("milestones", "must be rising and not negative");
  }
  if (o.kind == Kind::cosine || o.kind == Kind::poly)
    o.final_lr = config.number_or("final_lr", o.final_lr, 0);
  if (o.kind == Kind::poly) o.power = config.number_or("power", o.power, 0);
  config.finish();
  return o;
}

}  // namespace thorax
