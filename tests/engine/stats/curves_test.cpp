#include "engine/stats/curves.h"

#include "engine/tensor/error.h"
#include "tests/engine/stats/golden.h"

using namespace thorax;
using test::same;

TEST_CASE("counts, rates and areas are scikit-learn's") {
  int undefined = 0;
  const auto check = [&](const BinaryReport& r, const nlohmann::json& m) {
    const BinaryCounts& c = r.counts;
    CHECK(c == BinaryCounts{m.at("tp"), m.at("fn"), m.at("fp"), m.at("tn")});
    CHECK(same(c.accuracy(), m.at("accuracy")));
    CHECK(same(c.sensitivity(), m.at("sensitivity")));
    CHECK(same(c.specificity(), m.at("specificity")));
    CHECK(same(c.ppv(), m.at("ppv")));
    CHECK(same(c.npv(), m.at("npv")));
    CHECK(same(c.f1(), m.at("f1")));
    CHECK(same(c.balanced_accuracy(), m.at("balanced_accuracy")));
    CHECK(same(r.auc, m.at("auc")));
    undefined += m.at("auc").is_null();
  };
  for (const auto& json : test::golden_stats("binary")) {
    const test::BinaryCase c(json);
    CAPTURE(json.at("scores").dump());
    check(binary_report(c.labels, c.scores), json.at("metrics"));
  }
  const auto more = test::golden_file("metrics.json");
  for (const auto& json : more.at("binary")) {
    const test::BinaryCase c(json);
    check(binary_report(c.labels, c.scores, json.at("threshold")), json);
  }
  CHECK(undefined >= 5);  // the degenerate cases are in
  for (const auto& json : more.at("multiclass")) {
    const int classes = json.at("classes");
    ConfusionMatrix matrix(classes);
    for (std::size_t i = 0; i < json.at("labels").size(); ++i)
      matrix.add(json.at("labels")[i], json.at("predicted")[i]);
    CHECK(same(matrix.accuracy(), json.at("accuracy")));
    CHECK(same(matrix.balanced_accuracy(), json.at("balanced_accuracy")));
    for (int k = 0; k < classes; ++k) {
      const auto at = static_cast<std::size_t>(k);
      CHECK(same(matrix.recall(k), json.at("recall")[at]));
      CHECK(same(matrix.precision(k), json.at("precision")[at]));
      CHECK(same(matrix.f1(k), json.at("f1")[at]));
      for (int p = 0; p < classes; ++p)
        CHECK(matrix.count(k, p) == json.at("matrix")[at][static_cast<std::size_t>(p)]);
    }
  }
}

TEST_CASE("curves and operating points are scikit-learn's") {
  for (const auto& json : test::golden_stats("binary")) {
    const test::BinaryCase c(json);
    const auto& expected = json.at("curves");
    CAPTURE(json.at("scores").dump());
    CHECK(same(average_precision(c.labels, c.scores), expected.at("average_precision")));
    const auto pr = precision_recall_curve(c.labels, c.scores);
    REQUIRE(pr.size() == expected.at("precision_recall").size());
    for (std::size_t i = 0; i < pr.size(); ++i) {
      CHECK(same(pr[i].precision, expected.at("precision_recall")[i][0]));
      CHECK(same(pr[i].recall, expected.at("precision_recall")[i][1]));
      CHECK(same(pr[i].threshold, expected.at("precision_recall")[i][2], 0));
    }
    const auto roc = roc_curve(c.labels, c.scores);
    REQUIRE(roc.size() == expected.at("roc").size());
    for (std::size_t i = 0; i < roc.size(); ++i) {
      CHECK(same(roc[i].false_positive_rate, expected.at("roc")[i][0]));
      CHECK(same(roc[i].true_positive_rate, expected.at("roc")[i][1]));
      CHECK(same(roc[i].threshold, expected.at("roc")[i][2], 0));
    }
    const auto check = [](const OperatingPoint& point, const nlohmann::json& e) {
      CHECK(same(point.threshold, e[0], 0));
      CHECK(same(point.sensitivity, e[1]));
      CHECK(same(point.specificity, e[2]));
    };
    if (expected.at("youden").is_null()) {
      CHECK(std::isnan(youden_point(c.labels, c.scores).threshold));
      CHECK(std::isnan(sensitivity_at(0.5, c.labels, c.scores).sensitivity));
    } else {
      check(youden_point(c.labels, c.scores), expected.at("youden"));
    }
    for (const auto& [specificity, point] : expected.at("sensitivity_at").items())
      check(sensitivity_at(std::stod(specificity), c.labels, c.scores), point);
  }
}

TEST_CASE("a threshold from the curve gives the rates that it promises") {
  const std::vector<int> labels{1, 0, 1, 0, 1, 0, 0, 1, 0, 0};
  const std::vector<double> scores{0.9, 0.8, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1};
  const OperatingPoint best = youden_point(labels, scores);
  const BinaryCounts counts = binary_counts(labels, scores, best.threshold);
  CHECK(counts.sensitivity() == best.sensitivity);
  CHECK(counts.specificity() == best.specificity);
  CHECK(best.youden() == doctest::Approx(counts.sensitivity() + counts.specificity() - 1));
  CHECK(sensitivity_at(1, labels, scores).threshold == 0.9);
  CHECK(sensitivity_at(0.8, labels, scores).sensitivity == 0.5);
  // Nothing can be called positive when the highest score is a negative's.
  CHECK(std::isinf(sensitivity_at(1, std::vector{0, 1}, std::vector{0.9, 0.1}).threshold));
  CHECK_THROWS_AS(sensitivity_at(1.1, labels, scores), Error);
  CHECK_THROWS_AS(average_precision(labels, std::vector<double>{0.5}), Error);
  CHECK_THROWS_AS(precision_recall_curve(std::vector{2}, std::vector{0.5}), Error);
}
