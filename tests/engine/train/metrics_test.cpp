#include "engine/train/metrics.h"

#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/support/check.h"

using namespace thorax;

TEST_CASE("the study's printed rows follow from the confusion counts and its definitions") {
  // The study cuts its figures off after two decimals, and computes means (and F1) from cut-off
  // figures: up to 0.01 percent below for a row, up to 0.02 for a mean.
  const auto printed = [](double value, double figure, double below = 0.01) {
    CHECK(100 * value - figure >= -1e-9);
    CHECK(100 * value - figure <= below + 1e-4);
  };
  const BinaryCounts one{.tp = 40, .fn = 1, .fp = 0, .tn = 50};
  const BinaryCounts two{.tp = 39, .fn = 2, .fp = 0, .tn = 50};
  const BinaryCounts none{.tp = 41, .fn = 0, .fp = 0, .tn = 50};
  printed(one.study_accuracy(), 98.78);
  printed(one.study_specificity(), 98.03);
  printed(one.sensitivity(), 97.56);
  printed(one.f1(), 98.76);
  printed(two.study_accuracy(), 97.56);
  printed(two.study_specificity(), 96.15);
  printed(two.sensitivity(), 95.12);
  printed(two.f1(), 97.49);
  printed(none.study_accuracy(), 100);
  printed(none.study_specificity(), 100);
  printed(none.f1(), 100);
  // Its folds in order, and its means.
  std::vector<double> accuracy, specificity, sensitivity, f1;
  for (const BinaryCounts& c : {one, none, one, one, none, none, none, one, none, two}) {
    accuracy.push_back(c.study_accuracy());
    specificity.push_back(c.study_specificity());
    sensitivity.push_back(c.sensitivity());
    f1.push_back(c.f1());
  }
  printed(spread(accuracy).mean, 99.26, 0.02);
  printed(spread(specificity).mean, 98.82, 0.02);
  printed(spread(sensitivity).mean, 98.53, 0.02);
  printed(spread(f1).mean, 99.25, 0.02);
  // The standard definitions give other figures: this is why both are printed.
  CHECK(one.accuracy() == doctest::Approx(90.0 / 91));
  CHECK(one.specificity() == 1);
}

TEST_CASE("undefined ratios are NaN, null and a dash") {
  const BinaryCounts empty;
  CHECK(std::isnan(empty.accuracy()));
  CHECK(std::isnan(empty.f1()));
  const BinaryCounts positives_only{.tp = 3, .fn = 1, .fp = 0, .tn = 0};
  CHECK(positives_only.sensitivity() == 0.75);
  CHECK(std::isnan(positives_only.specificity()));
  CHECK(std::isnan(positives_only.balanced_accuracy()));
  CHECK(positives_only.npv() == 0);
  const std::vector<int> labels{1, 1};
  const std::vector<double> scores{0.2, 0.9};
  const BinaryReport report = binary_report(labels, scores);
  CHECK(std::isnan(report.auc));
  const auto json = to_json(report);
  CHECK(json["auc"].is_null());
  CHECK(json["specificity"].is_null());
  CHECK(json["sensitivity"] == 0.5);
  CHECK(json["study"]["specificity"] == 0);
  CHECK(fold_table(std::vector{report}).find(" - ") != std::string::npos);
}

TEST_CASE("the area under the curve is exact with ties and matches scikit-learn") {
  const std::vector<int> y{0, 1, 1, 1, 0, 0, 1, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 1, 0, 0,
                           1, 1, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0};
  const std::vector<double> s{0.0,   0.75,  0.0,   0.25, 0.375, 0.375, 0.0,   0.875, 0.625, 0.875,
                              0.0,   0.625, 0.25,  0.5,  0.875, 0.25,  0.625, 0.125, 0.25,  0.875,
                              0.375, 0.5,   0.25,  0.0,  0.375, 0.5,   0.375, 0.75,  0.25,  0.5,
                              0.75,  0.875, 0.375, 0.0,  0.625, 0.5,   0.75,  0.375, 0.25,  0.0};
  CHECK(roc_auc(y, s) == doctest::Approx(0.41414141414141414).epsilon(1e-15));
  // Against the definition, pair by pair.
  std::int64_t twice = 0, pairs = 0;
  for (std::size_t i = 0; i < y.size(); ++i)
    for (std::size_t j = 0; j < y.size(); ++j)
      if (y[i] == 1 && y[j] == 0) {
        ++pairs;
        twice += s[i] > s[j] ? 2 : s[i] == s[j] ? 1 : 0;
      }
  CHECK(roc_auc(y, s) == static_cast<double>(twice) / static_cast<double>(2 * pairs));
  // The trapezoids under the curve are the same area.
  const auto curve = roc_curve(y, s);
  double area = 0;
  for (std::size_t i = 1; i < curve.size(); ++i)
    area += (curve[i].false_positive_rate - curve[i - 1].false_positive_rate) *
            (curve[i].true_positive_rate + curve[i - 1].true_positive_rate) / 2;
  CHECK(area == doctest::Approx(roc_auc(y, s)));
  CHECK(curve.front().true_positive_rate == 0);
  CHECK(curve.back().true_positive_rate == 1);
  CHECK(curve.back().false_positive_rate == 1);
  CHECK(curve.size() == 9);  // the origin and one corner per distinct score

  CHECK(roc_auc(std::vector<int>{0, 1}, std::vector<double>{0.1, 0.9}) == 1);
  CHECK(roc_auc(std::vector<int>{0, 1}, std::vector<double>{0.9, 0.1}) == 0);
  CHECK(roc_auc(std::vector<int>{0, 1}, std::vector<double>{0.5, 0.5}) == 0.5);
  CHECK(std::isnan(roc_auc(std::vector<int>{}, std::vector<double>{})));
  CHECK(roc_curve(std::vector<int>{1}, std::vector<double>{0.5}).empty());
  CHECK_THROWS_WITH_AS(roc_auc(std::vector<int>{1}, std::vector<double>{NAN}),
                       "[metrics] score of sample 0 is not a number", Error);
  CHECK_THROWS_AS(roc_auc(std::vector<int>{2}, std::vector<double>{0.5}), Error);
  CHECK_THROWS_AS(roc_auc(std::vector<int>{1, 0}, std::vector<double>{0.5}), Error);
}

TEST_CASE("the threshold itself counts as positive") {
  const std::vector<int> labels{1, 1, 0, 0};
  const std::vector<double> scores{0.5, 0.49, 0.5, 0.1};
  CHECK(binary_counts(labels, scores) == BinaryCounts{.tp = 1, .fn = 1, .fp = 1, .tn = 1});
  CHECK(binary_counts(labels, scores, 0.05) == BinaryCounts{.tp = 2, .fn = 0, .fp = 2, .tn = 0});
}

TEST_CASE("confusion matrix of several classes") {
  ConfusionMatrix m(3);
  m.add(0, 0, 5);
  m.add(0, 1, 5);
  m.add(1, 1, 4);
  m.add(1, 2, 1);
  CHECK(m.total() == 15);
  CHECK(m.accuracy() == doctest::Approx(9.0 / 15));
  CHECK(m.recall(0) == 0.5);
  CHECK(m.recall(1) == 0.8);
  CHECK(std::isnan(m.recall(2)));
  CHECK(m.precision(1) == doctest::Approx(4.0 / 9));
  CHECK(m.precision(2) == 0);
  CHECK(m.f1(1) == doctest::Approx(8.0 / 14));
  CHECK(m.balanced_accuracy() == doctest::Approx(0.65));
  CHECK_THROWS_AS(m.add(3, 0), Error);
  CHECK_THROWS_AS(m.add(0, -1), Error);
  ConfusionMatrix sum(3);
  sum.add(m);
  sum.add(m);
  CHECK(sum.count(1, 1) == 8);
  CHECK(to_json(m)["recall"][2].is_null());
  CHECK(to_json(m, {"a", "b", "c"})["counts"][0][1] == 5);
  CHECK(confusion_table(m, {"a", "b", "c"}) ==
        "actual \\ predicted  a  b  c  sum  recall\n"
        "a                   5  5  0   10   50.00\n"
        "b                   0  4  1    5   80.00\n"
        "c                   0  0  0    0       -\n");
}

TEST_CASE("overlap of masks") {
  const Tensor p = Tensor::from(std::vector<float>{0.9f, 0.6f, 0.5f, 0.1f}, {1, 2, 2, 1});
  const Tensor t = Tensor::from(std::vector<std::uint8_t>{1, 0, 1, 0}, {1, 2, 2, 1});
  const OverlapCounts o = overlap(p, t);
  CHECK(o.both == 1);
  CHECK(o.only_predicted == 1);
  CHECK(o.only_true == 1);
  CHECK(o.neither == 1);
  CHECK(o.dice() == 0.5);
  CHECK(o.iou() == doctest::Approx(1.0 / 3));
  CHECK(o.pixel_accuracy() == 0.5);
  const Tensor none = Tensor::zeros({1, 2, 2, 1});
  CHECK(overlap(none, none).dice() == 1);
  CHECK(overlap(p, none).dice() == 0);
  CHECK(overlap(test::as_slice(p), t).dice() == 0.5);
  CHECK_THROWS_AS(overlap(p, Tensor::zeros({4})), Error);
  CHECK_THROWS_AS(overlap(Tensor::full({1}, NAN), Tensor::zeros({1})), Error);
}

TEST_CASE("fold table and summary") {
  const BinaryReport a{{40, 1, 0, 50}, 0.999, 0.5}, b{{39, 2, 0, 50}, 0.99, 0.5};
  const std::string table = fold_table(std::vector{a, b});
  CHECK(table.find("98.90") != std::string::npos);  // 90 of 91
  CHECK(table.find("98.78") != std::string::npos);  // the study's accuracy
  CHECK(table.find("mean") != std::string::npos);
  // A fold without positives has no AUC: the mean says that it is over one fold.
  const BinaryReport c{{0, 0, 3, 50}, NAN, 0.5};
  const std::string uneven = fold_table(std::vector{a, c});
  std::istringstream folds(uneven.substr(uneven.find("\nfolds") + 6));
  // accuracy, sensitivity, specificity, PPV, NPV, F1, AUC, balanced, the study's two
  for (const int wanted : {2, 1, 2, 2, 2, 2, 1, 1, 1, 2}) {
    int count = 0;
    folds >> count;
    CHECK(count == wanted);
  }
  CHECK(fold_summary(std::vector{a, c})["defined_in_folds"]["auc"] == 1);
  const auto summary = fold_summary(std::vector{a, b});
  CHECK(summary["folds"].size() == 2);
  CHECK(summary["mean"]["auc"] == doctest::Approx(0.9945));
  CHECK(summary["pooled_counts"]["fn"] == 3);
  CHECK(spread(std::vector<double>{1, 3, NAN}).mean == 2);
  CHECK(spread(std::vector<double>{1, 3, NAN}).deviation == doctest::Approx(std::sqrt(2.0)));
  CHECK(std::isnan(spread(std::vector<double>{1}).deviation));
}
