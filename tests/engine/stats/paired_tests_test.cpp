#include "engine/stats/paired_tests.h"

#include "engine/tensor/error.h"
#include "tests/engine/stats/golden.h"

using namespace thorax;
using test::same;
using test::same_relative;

TEST_CASE("McNemar's test is statsmodels'") {
  for (const auto& json : test::golden_stats("mcnemar")) {
    const McNemar test =
        mcnemar(json.at("only_first").get<int>(), json.at("only_second").get<int>());
    CHECK(same_relative(test.exact_p, json.at("exact_p")));
    CHECK(same_relative(test.chi_square, json.at("chi_square")));
    CHECK(same_relative(test.chi_square_p, json.at("chi_square_p")));
  }
  const std::vector<int> labels{1, 1, 1, 0, 0}, a{1, 1, 0, 0, 1}, b{1, 0, 0, 1, 0};
  const McNemar test = mcnemar(labels, a, b);
  CHECK(test.only_first == 2);
  CHECK(test.only_second == 1);
  CHECK(test.exact_p == 1);
  CHECK(std::isnan(mcnemar(labels, a, a).exact_p));
  CHECK(std::isnan(mcnemar(labels, a, a).chi_square_p));
  CHECK_THROWS_AS(mcnemar(labels, a, std::vector{1}), Error);
  CHECK_THROWS_AS(mcnemar(labels, a, std::vector{1, 0, 2, 0, 0}), Error);
  CHECK_THROWS_AS(mcnemar(-1, 3), Error);
}

TEST_CASE("DeLong's variances are those of the definition, pair by pair") {
  for (const auto& json : test::golden_stats("delong")) {
    const std::vector<int> labels = json.at("labels");
    const std::vector<double> first = json.at("first"), second = json.at("second");
    const DelongTest test = delong_test(labels, first, second);
    CAPTURE(json.dump());
    CHECK(same(test.first.auc, json.at("auc")[0]));
    CHECK(same(test.second.auc, json.at("auc")[1]));
    // Relative, but 0 for the definition's rounding.
    const auto variance = [](double value, const nlohmann::json& expected) {
      return same(value, expected, 1e-16) || same_relative(value, expected);
    };
    CHECK(variance(test.first.variance, json.at("variance")[0]));
    CHECK(variance(test.second.variance, json.at("variance")[1]));
    CHECK(variance(test.covariance, json.at("covariance")));
    CHECK(variance(test.variance, json.at("difference_variance")));
    CHECK(same_relative(test.z, json.at("z")));
    CHECK(same_relative(test.p, json.at("p")));
    const AucEstimate one = delong_auc(labels, first);
    CHECK((one.variance == test.first.variance || std::isnan(one.variance)));
    if (json.at("interval").is_null()) {
      CHECK(std::isnan(one.interval.low));
    } else {
      CHECK(same(one.interval.low, json.at("interval")[0]));
      CHECK(same(one.interval.high, json.at("interval")[1]));
    }
  }
}

TEST_CASE("DeLong: nothing to test, and wrong input") {
  const std::vector<int> labels{1, 1, 1, 0, 0, 0, 0};
  const std::vector<double> a{0.9, 0.4, 0.4, 0.4, 0.1, 0.2, 0.3};
  std::vector<double> b = a;
  for (double& score : b) score = 2 * score + 1;
  const DelongTest test = delong_test(labels, a, b);
  CHECK(test.difference == 0);
  CHECK(test.variance == 0);
  CHECK(std::isnan(test.p));
  CHECK(test.first.variance > 0);
  // Twice as sure of a wider level.
  CHECK(delong_auc(labels, a, 0.99).interval.low < delong_auc(labels, a, 0.9).interval.low);
  CHECK_THROWS_AS(delong_auc(labels, a, 0), Error);
  CHECK_THROWS_AS(delong_test(labels, a, std::vector{0.5}), Error);
  CHECK_THROWS_AS(delong_auc(std::vector{1, 3}, std::vector{0.1, 0.2}), Error);
  CHECK_THROWS_AS(delong_auc(std::vector{1, 0}, std::vector{0.1, std::nan("")}), Error);
}

TEST_CASE("Holm's correction is statsmodels'") {
  for (const auto& json : test::golden_stats("holm")) {
    const std::vector<double> p = json.at("p");
    const std::vector<double> adjusted = holm(p);
    for (std::size_t i = 0; i < p.size(); ++i) CHECK(same(adjusted[i], json.at("adjusted")[i]));
  }
  CHECK(holm({}).empty());
  const auto with_gap = holm(std::vector{0.01, std::nan(""), 0.04});
  CHECK(with_gap[0] == 0.02);
  CHECK(std::isnan(with_gap[1]));
  CHECK(with_gap[2] == 0.04);
  CHECK_THROWS_AS(holm(std::vector{0.5, 1.5}), Error);
}
