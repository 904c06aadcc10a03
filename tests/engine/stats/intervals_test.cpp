#include "engine/stats/intervals.h"

#include <algorithm>

#include "engine/runtime/philox.h"
#include "engine/stats/patients.h"
#include "engine/tensor/error.h"
#include "engine/train/metrics.h"
#include "tests/engine/stats/golden.h"
#include "tests/support/threads.h"

using namespace thorax;
using test::same;
using test::same_relative;

namespace {

// The area under the curve of the samples drawn.
auto auc_of(const std::vector<int>& labels, const std::vector<double>& scores) {
  return [&](std::span<const std::size_t> drawn) {
    std::vector<int> some;
    std::vector<double> their;
    for (const std::size_t i : drawn) {
      some.push_back(labels[i]);
      their.push_back(scores[i]);
    }
    return roc_auc(some, their);
  };
}

}  // namespace

TEST_CASE("intervals of proportions are statsmodels'") {
  for (const auto& json : test::golden_stats("proportions")) {
    const std::int64_t successes = json.at("successes"), trials = json.at("trials");
    const Interval wilson = wilson_interval(successes, trials, json.at("level"));
    CHECK(same(wilson.low, json.at("wilson")[0]));
    CHECK(same(wilson.high, json.at("wilson")[1]));
    const Interval exact = clopper_pearson_interval(successes, trials, json.at("level"));
    CHECK(same(exact.low, json.at("clopper_pearson")[0]));
    CHECK(same(exact.high, json.at("clopper_pearson")[1]));
  }
  CHECK(wilson_interval(0, 5).low == 0);
  CHECK(wilson_interval(5, 5).high == 1);
  CHECK(std::isnan(wilson_interval(0, 0).low));
  CHECK(std::isnan(clopper_pearson_interval(0, 0).high));
  CHECK_THROWS_AS(wilson_interval(2, 1), Error);
  CHECK_THROWS_AS(wilson_interval(-1, 1), Error);
  CHECK_THROWS_AS(clopper_pearson_interval(1, 2, 1), Error);
  CHECK_THROWS_AS(wilson_interval(1, 2, std::nan("")), Error);
}

TEST_CASE("the bootstrap over patients draws what a second program draws") {
  bool undefined = false;
  for (const auto& json : test::golden_stats("bootstrap")) {
    const test::BinaryCase c(json);
    const std::vector<int> groups = json.at("groups");
    const BootstrapOptions options{json.at("resamples"), json.at("seed"), json.at("level")};
    const BootstrapInterval got = group_bootstrap(
        groups, options, auc_of(c.labels, c.scores),
        json.at("stratified") ? std::span<const int>(c.labels) : std::span<const int>());
    CHECK(same(got.interval.low, json.at("low")));
    CHECK(same(got.interval.high, json.at("high")));
    CHECK(same(got.standard_error, json.at("standard_error")));
    CHECK(got.undefined == json.at("undefined"));
    CHECK(got.resamples == options.resamples);
    undefined = undefined || got.undefined > 0;
  }
  CHECK(undefined);
}

TEST_CASE("the bootstrap depends on neither threads nor the order of the samples") {
  std::vector<int> labels, groups;
  std::vector<double> scores;
  Philox random(3);
  for (int i = 0; i < 60; ++i) {
    groups.push_back(static_cast<int>(random.below(25)));
    labels.push_back(groups.back() % 2);
    scores.push_back(random.uniform() + 0.3 * labels.back());
  }
  const BootstrapOptions options{300, 7, 0.95};
  const auto interval = [&] {
    const auto b = group_bootstrap(groups, options, auc_of(labels, scores));
    return std::vector{b.interval.low, b.interval.high, b.standard_error};
  };
  const auto first = interval();
  {
    const test::Threads one(1);
    CHECK(interval() == first);
  }
  {
    const test::Threads many(5);
    CHECK(interval() == first);
  }
  std::reverse(groups.begin(), groups.end());
  std::reverse(labels.begin(), labels.end());
  std::reverse(scores.begin(), scores.end());
  CHECK(interval() == first);
  const auto other = group_bootstrap(groups, {300, 8, 0.95}, auc_of(labels, scores));
  CHECK(other.interval.low != first[0]);

  // Groups come and go as a whole; strata keep their numbers of groups.
  group_bootstrap(
      groups, options, 1,
      [&](Copies copies, std::span<double>) {
        int drawn[2] = {0, 0}, there[2] = {0, 0};
        std::vector<int> of_group(25, -1);
        for (std::size_t i = 0; i < copies.size(); ++i) {
          int& count = of_group[static_cast<std::size_t>(groups[i])];
          if (count == -1) {
            count = copies[i];
            drawn[labels[i]] += count;
            ++there[labels[i]];
          }
          if (count != copies[i]) throw Error("a group was torn apart");
        }
        if (drawn[0] != there[0] || drawn[1] != there[1]) throw Error("a stratum changed its size");
      },
      labels);
}

TEST_CASE("the bootstrap's interval holds the truth about as often as it says") {
  // Means of 30 patients with 1 to 3 equal values each: 90 % intervals, 200 times.
  int inside = 0;
  for (std::uint64_t trial = 0; trial < 200; ++trial) {
    Philox random(11, trial);
    std::vector<int> groups;
    std::vector<double> values;
    for (int patient = 0; patient < 30; ++patient) {
      const double value = random.normal();
      for (int image = 0; image <= patient % 3; ++image) {
        groups.push_back(patient);
        values.push_back(value);
      }
    }
    const auto b = group_bootstrap(groups, {200, trial, 0.9}, [&](auto drawn) {
      double sum = 0;
      for (const std::size_t i : drawn) sum += values[i];
      return sum / static_cast<double>(drawn.size());
    });
    inside += b.interval.low <= 0 && 0 <= b.interval.high;
  }
  CHECK(inside >= 166);  // 180 wanted, deviation 4.2; with images as groups it is about 134
  CHECK(inside <= 194);
}

TEST_CASE("bootstrap: degenerate and wrong input") {
  const auto constant = [](std::span<const std::size_t>) { return 0.25; };
  const std::vector<int> groups{1, 1, 2};
  const auto same_always = group_bootstrap(groups, {}, constant);
  CHECK(same_always.interval.low == 0.25);
  CHECK(same_always.interval.high == 0.25);
  CHECK(same_always.standard_error == 0);
  const auto empty = group_bootstrap({}, {}, constant);
  CHECK(std::isnan(empty.interval.low));
  CHECK(empty.undefined == 2000);
  CHECK_THROWS_AS(group_bootstrap(groups, {0, 1, 0.95}, constant), Error);
  CHECK_THROWS_AS(group_bootstrap(groups, {10, 1, 1.0}, constant), Error);
  CHECK_THROWS_WITH_AS(group_bootstrap(groups, {}, constant, std::vector{0, 1, 0}),
                       "[stats] group 1 is in the strata 0 and 1", Error);
  CHECK_THROWS_AS(group_bootstrap(groups, {}, constant, std::vector{0}), Error);
  CHECK_THROWS_AS(
      group_bootstrap(groups, {}, [](auto) -> double { fail("[test] thrown by a statistic"); }),
      Error);
}

TEST_CASE("patients' scores from images'") {
  const std::vector<std::string> patients{"b", "a", "b", "c"};
  const std::vector<int> labels{1, 0, 1, 0};
  const std::vector<double> scores{0.5, 0.25, 1, 0.125};
  const auto mean = patient_scores(patients, labels, scores);
  REQUIRE(mean.size() == 3);
  CHECK(mean[0].patient == "a");
  CHECK(mean[1].score == 0.75);
  CHECK(mean[1].images == 2);
  CHECK(mean[1].label == 1);
  CHECK(mean[2].score == 0.125);
  CHECK(patient_scores(patients, labels, scores, PatientRule::max)[1].score == 1);
  CHECK(group_numbers(patients) == std::vector{1, 0, 1, 2});
  CHECK(patient_scores({}, {}, {}).empty());
  const std::vector<int> torn{1, 0, 0, 0};
  CHECK(label_conflicts(patients, torn) == std::vector<std::string>{"b"});
  CHECK_THROWS_WITH_AS(patient_scores(patients, torn, scores),
                       "[stats] 1 patients have images with different labels: b", Error);
  CHECK_THROWS_AS(patient_scores(std::vector<std::string>{""}, std::vector{1}, std::vector{0.5}),
                  Error);
  CHECK_THROWS_AS(
      patient_scores(std::vector<std::string>{"a"}, std::vector{1}, std::vector{std::nan("")}),
      Error);
  CHECK_THROWS_AS(patient_scores(patients, labels, std::vector{0.5}), Error);
}
