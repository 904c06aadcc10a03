// Three classes and more against scikit-learn, and what it does not say.
#include "engine/stats/multiclass.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/runtime/philox.h"
#include "engine/stats/classifier_evaluation.h"
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
