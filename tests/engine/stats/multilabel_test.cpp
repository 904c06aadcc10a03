// Several findings an image against scikit-learn, and what it does not say.
#include "engine/stats/multilabel.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/runtime/philox.h"
#include "engine/stats/classifier_evaluation.h"
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
