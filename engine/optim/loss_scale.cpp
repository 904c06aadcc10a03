#include "engine/optim/loss_scale.h"

#include <algorithm>
#include <cmath>

namespace thorax {

LossScale::LossScale(const LossScaleOptions& options)
    : options_(options),
      scale_(Tensor::full({1}, options.initial, DType::f64)),
      good_steps_(Tensor::zeros({1}, DType::i64)) {
  const auto& o = options_;
  THORAX_CHECK(o.smallest > 0 && o.smallest <= o.initial && o.initial <= o.largest &&
                   std::isfinite(o.largest),
               "[loss_scale] the initial scale {} must lie between the smallest {} and the largest "
               "{}, and these be positive and finite",
               o.initial, o.smallest, o.largest);
  THORAX_CHECK(o.growth > 1 && std::isfinite(o.growth) && o.backoff > 0 && o.backoff < 1,
               "[loss_scale] growth {} must be above 1 and backoff {} between 0 and 1", o.growth,
               o.backoff);
  THORAX_CHECK(o.interval >= 1, "[loss_scale] an interval of {} steps", o.interval);
}

double LossScale::scale() const {
  return *scale_.data<double>();
}

std::int64_t LossScale::good_steps() const {
  return *good_steps_.data<std::int64_t>();
}

void LossScale::update(bool overflow) {
  double& scale = *scale_.data<double>();
  std::int64_t& good_steps = *good_steps_.data<std::int64_t>();
  if (overflow) {
    THORAX_CHECK(
        scale > options_.smallest,
        "[loss_scale] gradients are not finite at the smallest scale {}: the model diverges",
        scale);
    scale = std::max(scale * options_.backoff, options_.smallest);
    good_steps = 0;
  } else if (++good_steps >= options_.interval) {
    scale = std::min(scale * options_.growth, options_.largest);
    good_steps = 0;
  }
}

StateDict LossScale::state_dict() const {
  return {{"scale", scale_}, {"good_steps", good_steps_}};
}

void LossScale::load_state_dict(const StateDict& dict) {
  const StateDict own = state_dict();
  for (const auto& [key, tensor] : own) {
    const auto found = dict.find(key);
    THORAX_CHECK(found != dict.end(), "[loss_scale] state: '{}' is missing", key);
    THORAX_CHECK(found->second.shape() == tensor.shape() && found->second.dtype() == tensor.dtype(),
                 "[loss_scale] state: '{}' is {} {}, should be {} {}", key, found->second.shape(),
                 name_of(found->second.dtype()), tensor.shape(), name_of(tensor.dtype()));
  }
  for (const auto& [key, tensor] : dict)
    THORAX_CHECK(own.contains(key), "[loss_scale] state: '{}' is unknown", key);
  const double scale = dict.at("scale").item(), good_steps = dict.at("good_steps").item();
  THORAX_CHECK(scale > 0 && std::isfinite(scale) && good_steps >= 0,
               "[loss_scale] state: a scale of {} after {} good steps", scale, good_steps);
  for (const auto& [key, tensor] : own) tensor.copy_from(dict.at(key));
}

LossScaleOptions loss_scale_options(const ConfigObject& config) {
  LossScaleOptions o;
  o.smallest = config.number_or("smallest", o.smallest, 0x1p-24);
  o.largest = config.number_or("largest", o.largest, o.smallest);
  o.initial = config.number_or("initial", std::clamp(o.initial, o.smallest, o.largest), o.smallest,
                               o.largest);
  o.growth = config.number_or("growth", o.growth, 1);
  o.backoff = config.number_or("backoff", o.backoff, 0, 1);
  o.interval = config.integer_or("interval", o.interval, 1);
  if (o.growth <= 1) config.refuse("growth", "must be above 1");
  if (o.backoff <= 0 || o.backoff >= 1) config.refuse("backoff", "must lie between 0 and 1");
  config.finish();
  return o;
}

}  // namespace thorax
