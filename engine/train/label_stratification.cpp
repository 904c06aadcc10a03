#include "engine/train/label_stratification.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace thorax {
namespace {

constexpr double kEqual = 1e-9;  // differences of shares of counts below this are roundings

}  // namespace

std::vector<int> deal_by_labels(const std::vector<LabelledGroup>& groups,
                                const std::vector<double>& shares) {
  const std::size_t labels = groups.empty() ? 0 : groups[0].counts.size();
  const std::size_t bins = shares.size();
  // What each bin still lacks: samples of each label, and samples.
  std::vector<std::vector<double>> lacks(bins, std::vector<double>(labels));
  std::vector<double> lacks_samples(bins);
  for (std::size_t b = 0; b < bins; ++b)
    for (const LabelledGroup& group : groups) {
      lacks_samples[b] += shares[b] * static_cast<double>(group.samples);
      for (std::size_t l = 0; l < labels; ++l)
        lacks[b][l] += shares[b] * static_cast<double>(group.counts[l]);
    }
  std::vector<int> bin_of(groups.size(), -1);
  const auto put = [&](std::size_t i, std::size_t b) {
    bin_of[i] = static_cast<int>(b);
    lacks_samples[b] -= static_cast<double>(groups[i].samples);
    for (std::size_t l = 0; l < labels; ++l)
      lacks[b][l] -= static_cast<double>(groups[i].counts[l]);
  };
  // The bin that lacks most by `own`, then by samples, then the first.
  const auto neediest = [&](const auto& own) {
    std::size_t best = 0;
    for (std::size_t b = 1; b < bins; ++b) {
      const double more = own(b) - own(best);
      if (more > kEqual || (more > -kEqual && lacks_samples[b] > lacks_samples[best] + kEqual))
        best = b;
    }
    return best;
  };
  for (;;) {
    std::size_t rarest = labels;
    std::int64_t fewest = 0;
    for (std::size_t l = 0; l < labels; ++l) {
      std::int64_t left = 0;
      for (std::size_t i = 0; i < groups.size(); ++i)
        left += bin_of[i] < 0 && groups[i].counts[l] > 0;
      if (left > 0 && (rarest == labels || left < fewest)) {
        rarest = l;
        fewest = left;
      }
    }
    if (rarest == labels) break;
    std::vector<std::size_t> with;
    for (std::size_t i = 0; i < groups.size(); ++i)
      if (bin_of[i] < 0 && groups[i].counts[rarest] > 0) with.push_back(i);
    std::stable_sort(with.begin(), with.end(), [&](std::size_t a, std::size_t b) {
      return groups[a].counts[rarest] > groups[b].counts[rarest];
    });
    for (const std::size_t i : with)
      put(i, neediest([&](std::size_t b) { return lacks[b][rarest]; }));
  }
  for (std::size_t i = 0; i < groups.size(); ++i)
    if (bin_of[i] < 0) put(i, neediest([&](std::size_t b) { return lacks_samples[b]; }));
  return bin_of;
}

std::string lacking_labels(const Splits& splits, const std::vector<SplitItem>& samples,
                           const std::vector<std::string>& findings) {
  std::unordered_map<std::string, const SplitItem*> by_id;
  for (const SplitItem& sample : samples) by_id[sample.id] = &sample;
  std::string text;
  for (std::size_t f = 0; f < splits.folds.size(); ++f) {
    const Fold& fold = splits.folds[f];
    for (const auto& [side, ids] :
         {std::pair<const char*, const std::vector<std::string>*>{"training", &fold.train},
          {"validation", &fold.validation}}) {
      for (const auto& [kind, wanted] :
           {std::pair<const char*, std::int8_t>{"positive", std::int8_t{1}},
            {"negative", std::int8_t{0}}}) {
        std::vector<std::string> lacking;
        for (std::size_t l = 0; l < findings.size(); ++l)
          if (std::none_of(ids->begin(), ids->end(), [&, value = wanted](const std::string& id) {
                return by_id.at(id)->labels.at(l) == value;
              }))
            lacking.push_back(findings[l]);
        if (!lacking.empty())
          text += fmt::format("note: {}{} has no {} image of {}\n",
                              splits.cross_validation ? fmt::format("fold {}: ", f + 1) : "", side,
                              kind, fmt::join(lacking, ", "));
      }
    }
  }
  return text;
}

}  // namespace thorax
