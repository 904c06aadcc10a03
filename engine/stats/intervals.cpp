#include "engine/stats/intervals.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "engine/runtime/parallel.h"
#include "engine/runtime/philox.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

void check_counts(std::int64_t successes, std::int64_t trials) {
  THORAX_CHECK(successes >= 0 && successes <= trials, "[stats] {} successes of {} trials",
               successes, trials);
}

// Samples of each group; groups of a stratum follow one another.
struct Groups {
  std::vector<std::vector<std::size_t>> samples;
  std::vector<std::size_t> stratum_ends;
};

Groups sort_groups(std::span<const int> groups, std::span<const int> strata) {
  THORAX_CHECK(strata.empty() || strata.size() == groups.size(), "[stats] {} strata for {} samples",
               strata.size(), groups.size());
  std::map<int, int> stratum_of;
  std::map<std::pair<int, int>, std::vector<std::size_t>> sorted;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const int stratum = strata.empty() ? 0 : strata[i];
    const int known = stratum_of.emplace(groups[i], stratum).first->second;
    THORAX_CHECK(known == stratum, "[stats] group {} is in the strata {} and {}", groups[i], known,
                 stratum);
    sorted[{stratum, groups[i]}].push_back(i);
  }
  Groups result;
  int last = 0;
  for (auto& [key, samples] : sorted) {
    if (!result.samples.empty() && key.first != last)
      result.stratum_ends.push_back(result.samples.size());
    last = key.first;
    result.samples.push_back(std::move(samples));
  }
  if (!result.samples.empty()) result.stratum_ends.push_back(result.samples.size());
  return result;
}

BootstrapInterval summarise(std::vector<double> values, double level) {
  BootstrapInterval result;
  result.resamples = static_cast<int>(values.size());
  std::erase_if(values, [](double value) { return std::isnan(value); });
  result.undefined = result.resamples - static_cast<int>(values.size());
  if (values.empty()) return result;
  std::sort(values.begin(), values.end());
  result.interval = {sorted_quantile(values, (1 - level) / 2),
                     sorted_quantile(values, (1 + level) / 2)};
  if (values.size() < 2) return result;
  const double count = static_cast<double>(values.size());
  const double mean = values.front() == values.back()
                          ? values.front()  // no deviation, whatever the sum rounds to
                          : std::accumulate(values.begin(), values.end(), 0.0) / count;
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  result.standard_error = std::sqrt(squares / (count - 1));
  return result;
}

}  // namespace

Interval wilson_interval(std::int64_t successes, std::int64_t trials, double level) {
  check_counts(successes, trials);
  const double z = two_sided_z(level);
  if (trials == 0) return {};
  const double n = static_cast<double>(trials), p = static_cast<double>(successes) / n;
  const double centre = (p + z * z / (2 * n)) / (1 + z * z / n);
  const double reach = z / (1 + z * z / n) * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n));
  // An end that is 0 or 1 by definition is not left to rounding.
  return {successes == 0 ? 0 : centre - reach, successes == trials ? 1 : centre + reach};
}

Interval clopper_pearson_interval(std::int64_t successes, std::int64_t trials, double level) {
  check_counts(successes, trials);
  THORAX_CHECK(level > 0 && level < 1, "[stats] level {} is not between 0 and 1", level);
  if (trials == 0) return {};
  const double tail = (1 - level) / 2;
  const double k = static_cast<double>(successes), rest = static_cast<double>(trials - successes);
  return {successes == 0 ? 0 : beta_quantile(k, rest + 1, tail),
          successes == trials ? 1 : beta_quantile(k + 1, rest, 1 - tail)};
}

std::vector<BootstrapInterval> group_bootstrap(std::span<const int> groups,
                                               const BootstrapOptions& options, std::size_t count,
                                               const BootstrapStatistics& statistics,
                                               std::span<const int> strata) {
  THORAX_CHECK(options.resamples >= 1, "[stats] {} bootstrap resamples", options.resamples);
  THORAX_CHECK(options.level > 0 && options.level < 1, "[stats] level {} is not between 0 and 1",
               options.level);
  const Groups sorted = sort_groups(groups, strata);
  const auto resamples = static_cast<std::size_t>(options.resamples);
  std::vector<std::vector<double>> values(count, std::vector<double>(resamples, kUndefined));
  if (!groups.empty()) {
    parallel_for(0, options.resamples, 16, [&](std::int64_t first, std::int64_t last) {
      std::vector<int> copies(groups.size());
      std::vector<double> result(count);
      for (std::int64_t r = first; r < last; ++r) {
        std::fill(copies.begin(), copies.end(), 0);
        Philox random(options.seed, static_cast<std::uint64_t>(r));
        std::size_t begin = 0;
        for (const std::size_t end : sorted.stratum_ends) {
          for (std::size_t draw = begin; draw < end; ++draw)
            for (const std::size_t sample : sorted.samples[begin + random.below(end - begin)])
              ++copies[sample];
          begin = end;
        }
        std::fill(result.begin(), result.end(), kUndefined);
        statistics(copies, result);
        for (std::size_t k = 0; k < count; ++k) values[k][static_cast<std::size_t>(r)] = result[k];
      }
    });
  }
  std::vector<BootstrapInterval> result;
  for (auto& of_one : values) result.push_back(summarise(std::move(of_one), options.level));
  return result;
}

BootstrapInterval group_bootstrap(
    std::span<const int> groups, const BootstrapOptions& options,
    const std::function<double(std::span<const std::size_t> drawn)>& statistic,
    std::span<const int> strata) {
  const auto one = [&](Copies copies, std::span<double> values) {
    std::vector<std::size_t> drawn;
    for (std::size_t i = 0; i < copies.size(); ++i)
      drawn.insert(drawn.end(), static_cast<std::size_t>(copies[i]), i);
    values[0] = statistic(drawn);
  };
  return group_bootstrap(groups, options, 1, one, strata)[0];
}

}  // namespace thorax
