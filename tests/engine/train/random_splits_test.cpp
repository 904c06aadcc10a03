// Random samples against what splits promise: no patient on both sides, every class on both sides
// of every fold; refused only where no split has that, which a search over all of them confirms.
#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <random>
#include <set>

#include "engine/tensor/error.h"
#include "engine/train/splits.h"

using namespace thorax;

namespace {

using Random = std::mt19937;

std::size_t below(Random& random, std::size_t n) {
  return random() % n;
}

// A few groups of a few samples; most groups are of one class, some of several.
std::vector<SplitItem> random_samples(Random& random) {
  const std::size_t classes = 1 + below(random, 4), groups = 2 + below(random, 7);
  std::vector<SplitItem> samples;
  for (std::size_t g = 0; g < groups; ++g) {
    const std::size_t own = below(random, classes), size = 1 + below(random, 3);
    for (std::size_t i = 0; i < size; ++i) {
      const std::size_t label = below(random, 5) == 0 ? below(random, classes) : own;
      samples.push_back(
          {"s" + std::to_string(samples.size()), "g" + std::to_string(g), static_cast<int>(label)});
    }
  }
  std::shuffle(samples.begin(), samples.end(), random);
  return samples;
}

std::string unit_of(const SplitItem& sample, Grouping grouping) {
  return grouping == Grouping::group ? sample.group : sample.id;
}

std::size_t units_of(const std::vector<SplitItem>& samples, Grouping grouping) {
  std::set<std::string> units;
  for (const SplitItem& sample : samples) units.insert(unit_of(sample, grouping));
  return units.size();
}

// Whether units can be dealt to `parts` so that each part, and what lies outside of it, has every
// class; all deals are tried.
bool possible(const std::vector<SplitItem>& samples, std::size_t parts, Grouping grouping) {
  std::map<std::string, std::set<int>> classes_of;
  std::set<int> classes;
  for (const SplitItem& sample : samples) {
    classes_of[unit_of(sample, grouping)].insert(sample.label);
    classes.insert(sample.label);
  }
  std::vector<std::set<int>> units;
  for (const auto& [name, held] : classes_of) units.push_back(held);
  std::vector<std::map<int, int>> filled(parts);
  std::function<bool(std::size_t)> deal = [&](std::size_t unit) {
    if (unit == units.size()) {
      // With two parts or more that have every class, so has the outside of each.
      return std::all_of(filled.begin(), filled.end(), [&](const std::map<int, int>& part) {
        return std::all_of(classes.begin(), classes.end(),
                           [&](int c) { return part.contains(c) && part.at(c) > 0; });
      });
    }
    for (std::size_t part = 0; part < std::min(parts, unit + 1); ++part) {
      for (const int c : units[unit]) ++filled[part][c];
      if (deal(unit + 1)) return true;
      for (const int c : units[unit]) --filled[part][c];
    }
    return false;
  };
  return deal(0);
}

// Whether each side's share of every class comes to a whole unit: otherwise hold_out may ask for
// another share.
bool share_suffices(const std::vector<SplitItem>& samples, double share, Grouping grouping) {
  std::map<int, std::set<std::string>> units;
  for (const SplitItem& sample : samples) units[sample.label].insert(unit_of(sample, grouping));
  return std::all_of(units.begin(), units.end(), [&](const auto& of_class) {
    return std::min(share, 1 - share) * static_cast<double>(of_class.second.size()) >= 1;
  });
}

void check_promises(const Splits& splits, const std::vector<SplitItem>& samples) {
  std::map<std::string, int> held_out;
  std::set<int> classes;
  for (const SplitItem& sample : samples) classes.insert(sample.label);
  for (const Fold& fold : splits.folds) {
    const std::set<std::string> train(fold.train.begin(), fold.train.end());
    const std::set<std::string> validation(fold.validation.begin(), fold.validation.end());
    REQUIRE(train.size() == fold.train.size());
    REQUIRE(validation.size() == fold.validation.size());
    std::set<std::string> train_units, validation_units;
    std::set<int> train_classes, validation_classes;
    for (const SplitItem& sample : samples) {
      const bool in = train.contains(sample.id), out = validation.contains(sample.id);
      REQUIRE(in != out);
      (in ? train_units : validation_units).insert(unit_of(sample, splits.grouping));
      (in ? train_classes : validation_classes).insert(sample.label);
      if (out) ++held_out[sample.id];
    }
    std::set<std::string> both;
    std::set_intersection(train_units.begin(), train_units.end(), validation_units.begin(),
                          validation_units.end(), std::inserter(both, both.begin()));
    REQUIRE(both.empty());
    REQUIRE(train_classes == classes);
    REQUIRE(validation_classes == classes);
  }
  if (splits.cross_validation)
    for (const SplitItem& sample : samples) REQUIRE(held_out[sample.id] == 1);
  REQUIRE_NOTHROW(check_splits(splits, samples));
}

}  // namespace

TEST_CASE("random samples: folds keep every promise, and are refused only where none could") {
  Random random(11);
  int made = 0, refused = 0;
  for (int round = 0; round < 800; ++round) {
    const std::vector<SplitItem> samples = random_samples(random);
    const int folds = 2 + static_cast<int>(below(random, 3));
    const Grouping grouping = below(random, 4) == 0 ? Grouping::image : Grouping::group;
    const std::uint64_t seed = random();
    INFO("round ", round, ", ", samples.size(), " samples in ", folds, " folds");
    try {
      check_promises(k_fold(samples, folds, seed, grouping), samples);
      ++made;
    } catch (const Error& error) {
      INFO(error.what());
      if (units_of(samples, grouping) <= 8)
        REQUIRE_FALSE(possible(samples, static_cast<std::size_t>(folds), grouping));
      ++refused;
    }
  }
  CHECK(made > 100);
  CHECK(refused > 100);
}

TEST_CASE("random samples: what is held out keeps every promise, or none could") {
  Random random(12);
  int made = 0, refused = 0;
  for (int round = 0; round < 600; ++round) {
    const std::vector<SplitItem> samples = random_samples(random);
    const double share = 0.1 + 0.8 * static_cast<double>(below(random, 1000)) / 1000;
    const Grouping grouping = below(random, 4) == 0 ? Grouping::image : Grouping::group;
    INFO("round ", round, ", ", samples.size(), " samples, share ", share);
    try {
      check_promises(hold_out(samples, share, random(), grouping), samples);
      ++made;
    } catch (const Error& error) {
      INFO(error.what());
      if (units_of(samples, grouping) <= 8 && share_suffices(samples, share, grouping))
        REQUIRE_FALSE(possible(samples, 2, grouping));
      ++refused;
    }
  }
  CHECK(made > 100);
  CHECK(refused > 100);
}
