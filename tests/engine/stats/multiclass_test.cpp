// Three classes and more against scikit-learn, and what it does not say.
#include "engine/stats/multiclass.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/runtime/philox.h"
#include "engine/stats/classifier_evaluation.h"
#include "engine/stats/linear_model.h"
#include "engine/stats/multiclass_calibration.h"
#include "engine/tensor/error.h"
#include "tests/engine/stats/golden.h"

using namespace thorax;
using test::same;

TEST_CASE("multiclass: every figure as scikit-learn has it") {
  for (const nlohmann::json& c : test::golden_file("multiclass.json")) {
    const auto labels = c.at("labels").get<std::vector<int>>();
    const auto probabilities = c.at("probabilities").get<std::vector<std::vector<double>>>();
    const int classes = c.at("classes");
    const MulticlassReport r = multiclass_report(labels, probabilities, classes);
    for (int i = 0; i < classes; ++i)
      for (int j = 0; j < classes; ++j)
        CHECK(r.confusion.count(i, j) == c.at("confusion").at(i).at(j).get<std::int64_t>());
    CHECK(same(r.accuracy, c.at("accuracy")));
    CHECK(same(r.balanced_accuracy, c.at("balanced_accuracy")));
    CHECK(same(r.macro_f1, c.at("macro_f1")));
    CHECK(same(r.macro_auc, c.at("macro_auc")));
    for (std::size_t k = 0; k < r.classes.size(); ++k) {
      CHECK(same(r.classes[k].sensitivity, c.at("sensitivity").at(k)));
      CHECK(same(r.classes[k].specificity, c.at("specificity").at(k)));
      CHECK(same(r.classes[k].ppv, c.at("ppv").at(k)));
      CHECK(same(r.classes[k].f1, c.at("f1").at(k)));
      CHECK(same(r.classes[k].auc, c.at("auc").at(k)));
    }
  }
}

TEST_CASE("multiclass calibration: errors, Brier score and log loss as scikit-learn has them") {
  for (const nlohmann::json& c : test::golden_file("multiclass.json")) {
    const auto labels = c.at("labels").get<std::vector<int>>();
    const auto probabilities = c.at("probabilities").get<std::vector<std::vector<double>>>();
    const MulticlassCalibration m = multiclass_calibration(labels, probabilities, c.at("classes"));
    const nlohmann::json& wanted = c.at("calibration");
    CHECK(same(m.top_label.expected, wanted.at("top_label")));
    CHECK(same(m.top_label.largest, wanted.at("top_label_largest")));
    for (std::size_t k = 0; k < m.classes.size(); ++k)
      CHECK(same(m.classes[k].expected, wanted.at("class_errors").at(k)));
    CHECK(same(m.class_wise, wanted.at("class_wise")));
    CHECK(same(m.brier, wanted.at("brier")));
    CHECK(same(m.log_loss, wanted.at("log_loss")));
  }
  const MulticlassCalibration none = multiclass_calibration({}, {}, 3);
  CHECK(std::isnan(none.brier));
  CHECK(to_json(none, {"a", "b", "c"}).at("top_label_expected_error").is_null());
}

TEST_CASE("one against rest: logistic regressions as scikit-learn's OneVsRestClassifier") {
  for (const nlohmann::json& c : test::golden_file("one_against_rest.json")) {
    const auto labels = c.at("labels").get<std::vector<int>>();
    const auto features = c.at("features").get<std::vector<double>>();
    const std::size_t columns = c.at("columns");
    const auto models =
        fit_one_against_rest(features, columns, labels, c.at("classes"), c.at("l2"));
    for (std::size_t i = 0; i < labels.size(); ++i) {
      const auto p = probabilities(models, {features.data() + i * columns, columns});
      for (std::size_t k = 0; k < p.size(); ++k)
        CHECK(same(p[k], c.at("probabilities").at(i).at(k), 1e-7));
    }
  }
  CHECK_THROWS_WITH_AS(
      fit_one_against_rest(std::vector<double>{1, 2, 3}, 1, std::vector{0, 1, 0}, 3),
      doctest::Contains("class 2 has none of the 3 samples"), Error);
}

TEST_CASE("macro AUC of two classifiers: the difference, resampled within the classes") {
  const nlohmann::json golden = test::golden_file("multiclass.json");
  const nlohmann::json& c = golden.at(0);
  const auto labels = c.at("labels").get<std::vector<int>>();
  const auto first = c.at("probabilities").get<std::vector<std::vector<double>>>();
  std::vector<std::vector<double>> second = first;
  for (std::size_t i = 0; i < second.size(); i += 3)
    std::rotate(second[i].begin(), second[i].begin() + 1, second[i].end());
  std::vector<int> groups(labels.size());
  for (std::size_t i = 0; i < groups.size(); ++i) groups[i] = static_cast<int>(i);
  BootstrapOptions few;
  few.resamples = 300;
  const MacroAucTest t = macro_auc_test(labels, first, second, 3, groups, few);
  CHECK(same(t.first, c.at("macro_auc")));
  CHECK(t.difference == t.first - t.second);
  // The same resamples, each judged from its own samples.
  const BootstrapInterval b = group_bootstrap(
      groups, few,
      [&](std::span<const std::size_t> drawn) {
        std::vector<int> y;
        std::vector<std::vector<double>> p, q;
        for (const std::size_t i : drawn) {
          y.push_back(labels[i]);
          p.push_back(first[i]);
          q.push_back(second[i]);
        }
        return multiclass_report(y, p, 3).macro_auc - multiclass_report(y, q, 3).macro_auc;
      },
      labels);
  CHECK(b.undefined == 0);
  CHECK(t.interval.low == doctest::Approx(b.interval.low).epsilon(1e-12));
  CHECK(t.interval.high == doctest::Approx(b.interval.high).epsilon(1e-12));
  CHECK(t.standard_error == doctest::Approx(b.standard_error).epsilon(1e-12));
  // 1.96 standard errors are 5 %.
  CHECK(t.p == doctest::Approx(normal_two_sided_p(t.difference / b.standard_error)));
  const MacroAucTest same_ranks = macro_auc_test(labels, first, first, 3, groups, few);
  CHECK(same_ranks.difference == 0);
  CHECK(std::isnan(same_ranks.p));
}

namespace {

std::vector<MulticlassRow> rows_of(int images, int classes, std::uint64_t seed) {
  Philox random(seed);
  std::vector<MulticlassRow> rows;
  for (int i = 0; i < images; ++i) {
    MulticlassRow row{
        fmt::format("i{:03}", i), fmt::format("p{:03}", i / 2), i % 3, (i / 2) % classes, {}};
    double sum = 0;
    for (int c = 0; c < classes; ++c) {
      row.probabilities.push_back(0.05 + static_cast<double>(random.below(1000)) / 1000 +
                                  (c == row.label ? 0.5 : 0.0));
      sum += row.probabilities.back();
    }
    for (double& p : row.probabilities) p /= sum;
    rows.push_back(row);
  }
  return rows;
}

}  // namespace

TEST_CASE("multiclass: folds, pooled figures with intervals, and no order of rows") {
  std::vector<MulticlassRow> rows = rows_of(60, 3, 1);
  const std::vector<std::string> classes{"a", "b", "c"};
  const BootstrapOptions few{.resamples = 200, .seed = 7};
  const MulticlassEvaluation e = evaluate_multiclass(rows, classes, few);
  CHECK(e.image_count == 60);
  CHECK(e.patient_count == 30);
  CHECK(e.folds.size() == 3);
  CHECK(e.figures.size() == 4 + 3 * 5);
  CHECK(e.figures[0].value == e.all.accuracy);
  std::int64_t total = 0;
  for (const MulticlassReport& fold : e.folds) total += fold.confusion.total();
  CHECK(total == 60);
  for (const MulticlassFigure& f : e.figures) {
    CHECK(f.interval.low <= f.value);
    CHECK(f.value <= f.interval.high);
    CHECK(f.interval.low < f.interval.high);
  }
  // One class against the rest is what the evaluation of two classes says of that class.
  for (int cls = 0; cls < 3; ++cls) {
    std::vector<EvaluationRow> binary;
    for (const MulticlassRow& row : rows)
      binary.push_back({row.image, row.patient, row.fold, row.label == cls ? 1 : 0,
                        row.probabilities[static_cast<std::size_t>(cls)]});
    EvaluationOptions options;
    options.bootstrap = few;
    for (const Figure& f : evaluate_classifier(binary, options).images.figures) {
      if (f.name != "auc" || f.method != "bootstrap") continue;
      const MulticlassFigure& own = e.figures[static_cast<std::size_t>(4 + 5 * cls + 4)];
      CHECK(own.name == "auc");
      CHECK(own.value == f.value);
      CHECK(own.interval.low == f.interval.low);
      CHECK(own.interval.high == f.interval.high);
    }
  }
  std::reverse(rows.begin(), rows.end());
  CHECK(to_json(evaluate_multiclass(rows, classes, few)) == to_json(e));
}

TEST_CASE("multiclass: a class that is absent has no figures, and so have the means") {
  const std::vector<int> labels{0, 1, 1, 0};
  const std::vector<std::vector<double>> p{
      {0.5, 0.25, 0.25}, {0.25, 0.5, 0.25}, {0.5, 0.5, 0.0}, {0.5, 0.25, 0.25}};
  const MulticlassReport r = multiclass_report(labels, p, 3);
  CHECK(r.accuracy == 0.75);  // of equal probabilities the first class counts
  CHECK(std::isnan(r.classes[2].auc));
  CHECK(std::isnan(r.macro_auc));
  CHECK(std::isnan(r.balanced_accuracy));
  CHECK(r.classes[2].specificity == 1);
  CHECK(to_json(r, {"a", "b", "c"}).at("macro_auc").is_null());
  CHECK_THROWS_WITH_AS(multiclass_report(std::vector{0, 1, 3, 0}, p, 3),
                       "[stats] label 3 of sample 2: there are 3 classes", Error);
  CHECK_THROWS_AS(multiclass_report(labels, p, 4), Error);
  auto rows = rows_of(4, 3, 2);
  rows[1].image = rows[0].image;
  CHECK_THROWS_WITH_AS(evaluate_multiclass(rows, {"a", "b", "c"}),
                       "[stats] image i000 is there twice", Error);
  CHECK_THROWS_AS(evaluate_multiclass({}, {"a", "b", "c"}), Error);
}
