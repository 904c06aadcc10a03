// Intervals for a proportion, and for any statistic by resampling patients.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/stats/numbers.h"

namespace thorax {

// For `successes` of `trials`, both ends within [0, 1]; NaN without trials. Throws "[stats] ..."
// unless 0 <= successes <= trials and 0 < level < 1. They take trials for independent: with several
// images of a patient they are too narrow, and the bootstrap over patients is the one to quote.
//
// Wilson (1927): inverts the score test; mean coverage is close to the level.
Interval wilson_interval(std::int64_t successes, std::int64_t trials, double level = 0.95);
// Clopper & Pearson (1934), "exact": coverage is never below the level, often well above.
Interval clopper_pearson_interval(std::int64_t successes, std::int64_t trials, double level = 0.95);

struct BootstrapOptions {
  int resamples = 2000;
  std::uint64_t seed = 0;
  double level = 0.95;
};

struct BootstrapInterval {
  Interval interval;
  double standard_error = kUndefined;  // deviation over the resamples; NaN with fewer than 2
  int resamples = 0;
  int undefined = 0;  // resamples in which the statistic was NaN: left out of the interval
};

// How often each sample is in a resample; 0 for about a third of them. A statistic that takes
// counts can sort its samples once for all resamples.
using Copies = std::span<const int>;
// Writes its values, NaN for those that are not defined. Called from several threads.
using BootstrapStatistics = std::function<void(Copies copies, std::span<double> values)>;

// Percentile intervals by the bootstrap over groups: each resample draws as many groups as there
// are, with replacement, all samples of a group together, so that images of one patient do not
// count as independent evidence (Field & Welsh 2007). Quantiles (1 - level) / 2 and (1 + level) / 2
// of the defined values by linear interpolation.
//
// `groups` holds a number per sample, any numbers. `strata`, when given, holds a number per sample,
// the same throughout a group: each stratum then keeps its number of groups. Resample r draws from
// Philox(seed, stream r), out of the groups sorted by stratum and number: the result depends on
// neither the number of threads nor the order of the samples, as far as the statistic does not.
//
// Returns `count` intervals. Throws Error "[stats] ..." for sizes that do not fit, fewer than 1
// resample, a bad level, and a group in two strata. Without samples every resample is undefined.
std::vector<BootstrapInterval> group_bootstrap(std::span<const int> groups,
                                               const BootstrapOptions& options, std::size_t count,
                                               const BootstrapStatistics& statistics,
                                               std::span<const int> strata = {});

// The same for one statistic of the samples drawn: indices, ascending, repeated as drawn.
BootstrapInterval group_bootstrap(
    std::span<const int> groups, const BootstrapOptions& options,
    const std::function<double(std::span<const std::size_t> drawn)>& statistic,
    std::span<const int> strata = {});

}  // namespace thorax
