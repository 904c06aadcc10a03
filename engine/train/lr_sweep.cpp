#include "engine/train/lr_sweep.h"

#include <algorithm>
#include <cmath>

#include "engine/tensor/error.h"

namespace thorax {

LrSweep::LrSweep(const LrSweepOptions& options) : options_(options) {
  THORAX_CHECK(options.from > 0 && options.to > options.from && std::isfinite(options.to),
               "[lr-find] rates from {} to {}: the first must be above 0, the last above the first",
               options.from, options.to);
  THORAX_CHECK(options.steps >= 10, "[lr-find] {} steps: 10 or more are wanted", options.steps);
}

ScheduleOptions LrSweep::schedule() const {
  ScheduleOptions s;
  s.kind = ScheduleOptions::Kind::step;
  s.unit = ScheduleOptions::Unit::steps;
  s.lr = options_.from;
  s.factor = std::pow(options_.to / options_.from, 1 / static_cast<double>(options_.steps - 1));
  for (std::int64_t k = 1; k < options_.steps; ++k) s.milestones.push_back(k);
  return s;
}

bool LrSweep::add(double lr, double loss) {
  if (!std::isfinite(loss)) {
    diverged_ = true;
    return false;
  }
  const double keep = options_.smoothing;
  average_ = keep * average_ + (1 - keep) * loss;
  const double smoothed = average_ / (1 - std::pow(keep, static_cast<double>(rows_.size() + 1)));
  rows_.push_back({lr, loss, smoothed});
  least_ = rows_.size() == 1 ? smoothed : std::min(least_, smoothed);
  const auto count = static_cast<std::int64_t>(rows_.size());
  diverged_ = count > options_.settle && smoothed > options_.divergence * least_;
  return !diverged_;
}

double LrSweep::drawn_up_to() const {
  if (rows_.empty()) return 0;
  const auto less = [](const Row& a, const Row& b) { return a.smoothed < b.smoothed; };
  const auto lowest = std::min_element(rows_.begin(), rows_.end(), less);
  const auto before = std::max_element(rows_.begin(), lowest + 1, less);
  return std::max(2 * lowest->smoothed, 1.1 * before->smoothed);
}

std::optional<LrSweep::Suggestion> LrSweep::suggestion() const {
  constexpr std::size_t kAround = 5;
  const auto lasts = [&](std::size_t k) {
    if (k + 1 < kAround || k + kAround >= rows_.size()) return false;
    double before = 0, behind = 0;
    for (std::size_t i = 0; i < kAround; ++i) {
      before += rows_[k - i].loss;
      behind += rows_[k + 1 + i].loss;
    }
    return behind < before;
  };
  if (rows_.size() < 5) return std::nullopt;
  const auto lowest = static_cast<std::size_t>(
      std::min_element(rows_.begin(), rows_.end(),
                       [](const Row& a, const Row& b) { return a.smoothed < b.smoothed; }) -
      rows_.begin());
  Suggestion found;
  found.lowest = rows_[lowest].lr;
  // Before the minimum, central differences. Steps are equally long in log(rate).
  double steepest = 0;
  for (std::size_t k = 1; k < lowest; ++k) {
    const double slope = rows_[k + 1].smoothed - rows_[k - 1].smoothed;
    if (slope >= steepest || !lasts(k)) continue;
    steepest = slope;
    found.steepest = rows_[k].lr;
  }
  if (!(found.steepest > 0)) return std::nullopt;
  return found;
}

}  // namespace thorax
