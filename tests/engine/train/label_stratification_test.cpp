// Splits of samples with several findings: whole patients, even shares of every finding, no luck.
#include "engine/train/label_stratification.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "engine/runtime/philox.h"
#include "engine/tensor/error.h"

using namespace thorax;

namespace {

// `patients` with one to four images, findings of falling frequency, a tenth of the labels unknown.
std::vector<SplitItem> items_of(int patients, std::size_t findings, std::uint64_t seed) {
  Philox random(seed);
  std::vector<SplitItem> items;
  for (int p = 0; p < patients; ++p) {
    const auto images = 1 + random.below(4);
    for (std::uint64_t i = 0; i < images; ++i) {
      SplitItem item{fmt::format("p{}_{}", p, i), fmt::format("p{:04}", p)};
      for (std::size_t f = 0; f < findings; ++f)
        item.labels.push_back(random.uniform() < 0.1                                ? -1
                              : random.uniform() < 0.5 / static_cast<double>(1 + f) ? 1
                                                                                    : 0);
      items.push_back(item);
    }
  }
  return items;
}

const std::vector<std::string> kNames{"a", "b", "c", "d", "e"};

// The largest distance of a fold's share of a finding's positives from 1 / folds.
double unevenness(const Splits& splits, const std::vector<SplitItem>& items, std::size_t findings) {
  double worst = 0;
  for (std::size_t f = 0; f < findings; ++f) {
    std::map<std::string, int> positive;
    double all = 0;
    for (const SplitItem& item : items) {
      positive[item.id] = item.labels[f] == 1;
      all += item.labels[f] == 1;
    }
    for (const Fold& fold : splits.folds) {
      double here = 0;
      for (const std::string& id : fold.validation) here += positive.at(id);
      worst =
          std::max(worst, std::abs(here / all - 1.0 / static_cast<double>(splits.folds.size())));
    }
  }
  return worst;
}

}  // namespace

TEST_CASE("several findings: folds of whole patients with even shares of every finding") {
  for (const std::uint64_t seed : {1u, 2u, 3u}) {
    const std::vector<SplitItem> items = items_of(200, 5, seed);
    const Splits splits = k_fold(items, 5, seed);
    check_splits(splits, items);  // every sample held out once, no patient on both sides
    CHECK(unevenness(splits, items, 5) < 0.05);
    CHECK(lacking_labels(splits, items, kNames).empty());
    for (const Fold& fold : splits.folds)
      CHECK(
          std::abs(static_cast<double>(fold.validation.size()) / static_cast<double>(items.size()) -
                   0.2) < 0.05);
    // The same without the findings is what chance gives.
    std::vector<SplitItem> blind = items;
    for (SplitItem& item : blind) item.labels.clear();
    CHECK(unevenness(k_fold(blind, 5, seed), items, 5) > unevenness(splits, items, 5));

    const Splits held = hold_out(items, 0.15, seed);
    check_splits(held, items);
    CHECK(std::abs(static_cast<double>(held.folds[0].validation.size()) /
                       static_cast<double>(items.size()) -
                   0.15) < 0.03);
    CHECK(lacking_labels(held, items, kNames).empty());
  }
}

TEST_CASE("several findings: the split depends on samples and seed, not on their order") {
  std::vector<SplitItem> items = items_of(60, 5, 4);
  const auto sides = [&](std::uint64_t seed) {
    std::vector<std::set<std::string>> sets;
    for (const Fold& fold : k_fold(items, 3, seed).folds)
      sets.emplace_back(fold.validation.begin(), fold.validation.end());
    return sets;
  };
  const auto before = sides(1);
  CHECK(sides(1) == before);
  CHECK(sides(2) != before);
  std::reverse(items.begin(), items.end());
  CHECK(sides(1) == before);
}

TEST_CASE(
    "several findings: a rare one goes to as many folds as it has patients, and the rest is said") {
  std::vector<SplitItem> items;
  for (int p = 0; p < 12; ++p)
    items.push_back({fmt::format("i{}", p),
                     fmt::format("p{}", p),
                     0,
                     "",
                     {static_cast<std::int8_t>(p < 2), static_cast<std::int8_t>(p % 2)}});
  const Splits splits = k_fold(items, 3, 0);
  int folds = 0;
  for (const Fold& fold : splits.folds) {
    int here = 0;
    for (const std::string& id : fold.validation) here += id == "i0" || id == "i1";
    CHECK(here <= 1);
    folds += here;
  }
  CHECK(folds == 2);
  const std::string said = lacking_labels(splits, items, {"rare", "common"});
  CHECK(std::count(said.begin(), said.end(), '\n') == 1);
  CHECK(said.find("validation has no positive image of rare") != std::string::npos);
  CHECK(said.find("common") == std::string::npos);
  // Nobody with the finding is left to train on.
  items[1].labels[0] = 0;
  CHECK(lacking_labels(k_fold(items, 3, 0), items, {"rare", "common"})
            .find("training has no positive image of rare") != std::string::npos);

  CHECK_THROWS_WITH_AS(k_fold(items, 13, 0),
                       doctest::Contains("has 12 patients, fewer than the 13"), Error);
  items[3].labels.pop_back();
  CHECK_THROWS_WITH_AS(k_fold(items, 3, 0), doctest::Contains("has 1 findings"), Error);
}

TEST_CASE("iterative stratification: Sechidis et al.'s order, by hand") {
  // Label 1 is rarest: its two groups part; then label 0's, to where it lacks; the last fills up.
  const std::vector<LabelledGroup> groups{{1, {1, 0}}, {1, {1, 1}}, {1, {1, 0}},
                                          {1, {0, 1}}, {1, {1, 0}}, {1, {0, 0}}};
  const std::vector<int> bins = deal_by_labels(groups, {0.5, 0.5});
  CHECK(bins[1] != bins[3]);
  std::vector<int> zero(2), all(2);
  for (std::size_t i = 0; i < groups.size(); ++i) {
    all[static_cast<std::size_t>(bins[i])] += 1;
    zero[static_cast<std::size_t>(bins[i])] += static_cast<int>(groups[i].counts[0]);
  }
  CHECK(zero == std::vector<int>{2, 2});
  CHECK(all == std::vector<int>{3, 3});
}
