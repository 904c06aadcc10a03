// Several findings an image against scikit-learn, and what it does not say.
#include "engine/stats/multilabel.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/runtime/philox.h"
#include "engine/stats/classifier_evaluation.h"
#include "engine/stats/paired_tests.h"
#include "engine/tensor/error.h"
#include "tests/engine/stats/golden.h"

using namespace thorax;
using test::same;

namespace {

void check(const FindingFigures& f, const nlohmann::json& wanted) {
  CHECK(same(f.sensitivity, wanted.at("sensitivity")));
  CHECK(same(f.specificity, wanted.at("specificity")));
  CHECK(same(f.ppv, wanted.at("ppv")));
  CHECK(same(f.f1, wanted.at("f1")));
  CHECK(same(f.auc, wanted.at("auc")));
  CHECK(same(f.average_precision, wanted.at("average_precision")));
  if (!wanted.contains("counts")) return;
  const auto counts = wanted.at("counts").get<std::vector<std::int64_t>>();
  CHECK(f.counts == BinaryCounts{counts[0], counts[1], counts[2], counts[3]});
}

}  // namespace

TEST_CASE("multilabel: every figure as scikit-learn has it, unknown labels left out") {
  for (const nlohmann::json& c : test::golden_file("multilabel.json")) {
    const auto labels = c.at("labels").get<std::vector<std::vector<std::int8_t>>>();
    const auto probabilities = c.at("probabilities").get<std::vector<std::vector<double>>>();
    const auto thresholds = c.at("thresholds").get<std::vector<double>>();
    const std::size_t findings = c.at("findings");
    const MultilabelReport r = multilabel_report(labels, probabilities, findings, thresholds);
    REQUIRE(r.findings.size() == findings);
    std::int64_t unknown = 0;
    for (std::size_t f = 0; f < findings; ++f) {
      check(r.findings[f], c.at("of").at(f));
      CHECK(r.findings[f].counts.total() + r.findings[f].unknown ==
            static_cast<std::int64_t>(labels.size()));
      unknown += r.findings[f].unknown;
      // One finding by itself is what the curves of two classes say of it.
      const KnownScores known = known_scores(labels, probabilities, f);
      CHECK(r.findings[f].auc == doctest::Approx(roc_auc(known.labels, known.scores)));
      CHECK(r.findings[f].average_precision ==
            doctest::Approx(average_precision(known.labels, known.scores)));
    }
    check(r.macro, c.at("macro"));
    check(r.micro, c.at("micro"));
    CHECK(r.micro.unknown == unknown);
  }
}

namespace {

std::vector<MultilabelRow> rows_of(int images, std::size_t findings, std::uint64_t seed) {
  Philox random(seed);
  std::vector<MultilabelRow> rows;
  for (int i = 0; i < images; ++i) {
    MultilabelRow row{fmt::format("i{:03}", i), fmt::format("p{:03}", i / 2), i % 3, {}, {}};
    for (std::size_t f = 0; f < findings; ++f) {
      const auto kind = random.below(10);
      row.labels.push_back(kind < 2 ? -1 : kind < 5 ? 1 : 0);
      row.probabilities.push_back(
          (static_cast<double>(random.below(1000)) + (row.labels.back() == 1 ? 400.0 : 0.0)) /
          1400);
    }
    rows.push_back(row);
  }
  return rows;
}

}  // namespace

TEST_CASE("multilabel: folds, pooled figures with intervals, and no order of rows") {
  std::vector<MultilabelRow> rows = rows_of(90, 3, 1);
  const std::vector<std::string> names{"a", "b", "c"};
  const BootstrapOptions few{.resamples = 200, .seed = 7};
  const MultilabelEvaluation e = evaluate_multilabel(rows, names, few);
  CHECK(e.image_count == 90);
  CHECK(e.patient_count == 45);
  CHECK(e.folds.size() == 3);
  REQUIRE(e.figures.size() == (3 + 2) * 6);
  CHECK(e.figures[4].name == "auc");
  CHECK(e.figures[4].value == e.all.findings[0].auc);
  CHECK(e.figures[18].finding == MultilabelFigure::kMacro);
  CHECK(e.figures[24 + 4].value == e.all.micro.auc);
  for (const MultilabelFigure& f : e.figures) {
    CHECK(f.interval.low <= f.value);
    CHECK(f.value <= f.interval.high);
    CHECK(f.interval.low < f.interval.high);
  }
  // One finding alone has the figures and the intervals of the evaluation of two classes.
  std::vector<MultilabelRow> alone;
  std::vector<EvaluationRow> two;
  for (const MultilabelRow& row : rows) {
    if (row.labels[1] < 0) continue;
    alone.push_back({row.image, row.patient, row.fold, {row.labels[1]}, {row.probabilities[1]}});
    two.push_back({row.image, row.patient, row.fold, row.labels[1], row.probabilities[1]});
  }
  const MultilabelEvaluation one = evaluate_multilabel(alone, {"b"}, few);
  EvaluationOptions options;
  options.bootstrap = few;
  options.classes = {"not b", "b"};
  const ClassifierEvaluation binary = evaluate_classifier(two, options);
  for (const Figure& f : binary.images.figures) {
    if (f.name != "auc" || f.method != "bootstrap") continue;
    CHECK(f.value == doctest::Approx(one.figures[4].value));
    CHECK(f.interval.low == doctest::Approx(one.figures[4].interval.low));
    CHECK(f.interval.high == doctest::Approx(one.figures[4].interval.high));
  }
  CHECK(one.all.micro.auc == one.all.findings[0].auc);
  CHECK(one.all.macro.f1 == one.all.findings[0].f1);

  std::reverse(rows.begin(), rows.end());
  CHECK(to_json(evaluate_multilabel(rows, names, few)) == to_json(e));
}

TEST_CASE("multilabel: a finding that is never there has no AUC, and then there is no macro AUC") {
  std::vector<MultilabelRow> rows = rows_of(40, 2, 3);
  for (MultilabelRow& row : rows)
    if (row.labels[0] == 1) row.labels[0] = -1;
  const MultilabelEvaluation e = evaluate_multilabel(rows, {"a", "b"}, {.resamples = 20});
  CHECK(std::isnan(e.all.findings[0].auc));
  CHECK(std::isnan(e.all.findings[0].average_precision));
  CHECK(std::isnan(e.all.findings[0].sensitivity));
  CHECK_FALSE(std::isnan(e.all.findings[0].specificity));
  CHECK(std::isnan(e.all.macro.auc));
  CHECK_FALSE(std::isnan(e.all.micro.auc));
  const nlohmann::json json = to_json(e);
  CHECK(json.at("all").at("macro").at("auc").is_null());
  CHECK(json.at("all").at("findings").at(0).at("positive") == 0);
  CHECK(e.figures[4].undefined == 20);
}

TEST_CASE("multilabel: what does not fit is refused") {
  using Labels = std::vector<std::vector<std::int8_t>>;
  using Scores = std::vector<std::vector<double>>;
  const auto report = [](const Labels& labels, const Scores& p, std::size_t findings,
                         const std::vector<double>& t = {}) {
    return multilabel_report(labels, p, findings, t);
  };
  CHECK_THROWS_WITH_AS(report({{1}}, {{0.5}, {0.5}}, 1), doctest::Contains("1 labels and 2"),
                       Error);
  CHECK_THROWS_WITH_AS(report({{1, 0}}, {{0.5}}, 2), doctest::Contains("for 2 findings"), Error);
  CHECK_THROWS_WITH_AS(report({{2}}, {{0.5}}, 1), doctest::Contains("label 2"), Error);
  CHECK_THROWS_WITH_AS(report({{1}}, {{1.5}}, 1), doctest::Contains("not in [0, 1]"), Error);
  CHECK_THROWS_WITH_AS(report({{1}}, {{std::nan("")}}, 1), doctest::Contains("not in [0, 1]"),
                       Error);
  CHECK_THROWS_WITH_AS(report({{1}}, {{0.5}}, 1, {0.5, 0.5}), doctest::Contains("2 thresholds"),
                       Error);
  CHECK_THROWS_WITH_AS(report({}, {}, 0), doctest::Contains("no findings"), Error);
  CHECK_THROWS_WITH_AS(evaluate_multilabel({}, {"a"}), doctest::Contains("no images"), Error);
  const std::vector<MultilabelRow> twice{{"i", "p", 0, {1}, {0.5}}, {"i", "p", 0, {1}, {0.5}}};
  CHECK_THROWS_WITH_AS(evaluate_multilabel(twice, {"a"}), doctest::Contains("there twice"), Error);
}

TEST_CASE("multilabel: paired tests are DeLong's where every patient has one image") {
  std::vector<std::vector<std::int8_t>> labels;
  std::vector<std::vector<double>> first, second;
  std::vector<int> groups;
  Philox random(5);
  const auto uniform = [&] { return static_cast<double>(random.below(100000)) / 100000; };
  for (int i = 0; i < 300; ++i) {
    groups.push_back(i);
    labels.emplace_back();
    first.emplace_back();
    second.emplace_back();
    for (int f = 0; f < 2; ++f) {
      const auto kind = random.below(10);
      labels.back().push_back(kind < 1 ? -1 : kind < 5 ? 1 : 0);
      const double shared = uniform(), shift = labels.back().back() == 1 ? 0.3 : 0;
      first.back().push_back((shared + uniform() + shift) / 2.3);
      second.back().push_back((shared + 2 * uniform() + shift) / 3.3);
    }
  }
  const auto tests = finding_auc_tests(labels, first, second, 2, groups);
  REQUIRE(tests.size() == 3);
  for (std::size_t f = 0; f < 2; ++f) {
    const KnownScores a = known_scores(labels, first, f), b = known_scores(labels, second, f);
    const DelongTest wanted = delong_test(a.labels, a.scores, b.scores);
    CHECK(tests[f].first == doctest::Approx(wanted.first.auc));
    CHECK(tests[f].second == doctest::Approx(wanted.second.auc));
    CHECK(tests[f].difference == doctest::Approx(wanted.difference));
    CHECK(tests[f].standard_error == doctest::Approx(std::sqrt(wanted.variance)).epsilon(0.06));
    CHECK(tests[f].interval.low == doctest::Approx(wanted.interval.low).epsilon(0.2));
    CHECK(tests[f].interval.high == doctest::Approx(wanted.interval.high).epsilon(0.2));
    CHECK(tests[f].z == tests[f].difference / tests[f].standard_error);
    CHECK(tests[f].p == normal_two_sided_p(tests[f].z));
    CHECK(tests[f].undefined == 0);
  }
  CHECK(tests[2].difference == doctest::Approx((tests[0].difference + tests[1].difference) / 2));

  // More images of the same patients, whose labels are not known or that say the same once more,
  // are no more evidence.
  auto more_labels = labels;
  auto more_first = first, more_second = second;
  auto more_groups = groups;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    more_labels.push_back(labels[i]);
    more_labels.push_back({-1, -1});
    for (auto [of, more] : {std::pair{&first, &more_first}, {&second, &more_second}}) {
      more->push_back((*of)[i]);
      more->push_back({0.9, 0.1});
    }
    more_groups.insert(more_groups.end(), 2, groups[i]);
  }
  const auto again = finding_auc_tests(more_labels, more_first, more_second, 2, more_groups);
  for (std::size_t f = 0; f < 3; ++f) {
    CHECK(again[f].difference == doctest::Approx(tests[f].difference));
    CHECK(again[f].standard_error == doctest::Approx(tests[f].standard_error));
  }

  // Equal rankings cannot be told apart; a finding that is never there has no area.
  auto squeezed = first;
  for (auto& row : squeezed)
    for (double& p : row) p = p * p;
  for (const AucDifference& same_rank : finding_auc_tests(labels, first, squeezed, 2, groups)) {
    CHECK(same_rank.difference == 0);
    CHECK(std::isnan(same_rank.p));
  }
  for (auto& row : labels) row[1] = std::min<std::int8_t>(row[1], 0);
  const auto lacking = finding_auc_tests(labels, first, second, 2, groups);
  CHECK(lacking[0].p == tests[0].p);
  for (const std::size_t f : {1, 2}) {
    CHECK(std::isnan(lacking[f].difference));
    CHECK(std::isnan(lacking[f].interval.low));
    CHECK(std::isnan(lacking[f].p));
  }
}
