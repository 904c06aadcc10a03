#include "engine/stats/calibration.h"

#include "engine/stats/linear_model.h"
#include "engine/stats/logistic_newton.h"
#include "engine/tensor/error.h"
#include "tests/engine/stats/golden.h"

using namespace thorax;
using test::same;

TEST_CASE("scores, bins and fits of calibration are scikit-learn's and statsmodels'") {
  int slopes = 0, without = 0;
  for (const auto& json : test::golden_stats("binary")) {
    const test::BinaryCase c(json);
    const auto& expected = json.at("calibration");
    CAPTURE(json.at("scores").dump());
    CAPTURE(json.at("labels").dump());
    CHECK(same(brier_score(c.labels, c.scores), expected.at("brier")));
    CHECK(same(log_loss(c.labels, c.scores), expected.at("log_loss")));
    CHECK(
        same(calibration_error(reliability_bins(c.labels, c.scores)).expected, expected.at("ece")));
    for (const auto& [name, curve] : expected.at("bins").items()) {
      const bool uniform = name.starts_with("uniform");
      const int count = std::stoi(name.substr(uniform ? 7 : 8));
      const auto bins = reliability_bins(c.labels, c.scores, count,
                                         uniform ? Binning::equal_width : Binning::equal_count);
      CHECK(bins.size() == static_cast<std::size_t>(count));
      std::size_t filled = 0;
      int samples = 0;
      for (const ReliabilityBin& bin : bins) {
        samples += bin.count;
        if (bin.count == 0) {
          CHECK(std::isnan(bin.observed));
          continue;
        }
        REQUIRE(filled < curve[0].size());
        CHECK(same(bin.observed, curve[0][filled]));
        CHECK(same(bin.predicted, curve[1][filled]));
        ++filled;
      }
      CHECK(filled == curve[0].size());
      CHECK(samples == static_cast<int>(c.labels.size()));
    }
    const CalibrationFit fit = calibration_fit(c.labels, c.scores);
    CHECK(same(fit.slope, expected.at("slope"), 1e-8));
    CHECK(same(fit.intercept, expected.at("intercept"), 1e-8));
    CHECK(same(fit.slope_error, expected.at("slope_error"), 1e-8));
    CHECK(same(fit.intercept_error, expected.at("intercept_error"), 1e-8));
    CHECK(same(fit.in_the_large, expected.at("in_the_large"), 1e-8));
    CHECK(same(fit.in_the_large_error, expected.at("in_the_large_error"), 1e-8));
    ++(expected.at("slope").is_null() ? without : slopes);
  }
  CHECK(slopes >= 10);
  CHECK(without >= 8);
}

TEST_CASE("calibration of nothing is undefined, of what is no probability an error") {
  const std::vector<int> none;
  const std::vector<double> nothing;
  CHECK(std::isnan(calibration_error(reliability_bins(none, nothing)).largest));
  CHECK(reliability_bins(none, nothing, 4, Binning::equal_count).empty());
  CHECK(std::isnan(calibration_fit(none, nothing).in_the_large));
  const std::vector<int> one{1};
  for (const double bad : {-0.1, 1.1, std::nan("")}) {
    const std::vector<double> p{bad};
    CHECK_THROWS_AS(brier_score(one, p), Error);
    CHECK_THROWS_AS(log_loss(one, p), Error);
    CHECK_THROWS_AS(reliability_bins(one, p), Error);
    CHECK_THROWS_AS(calibration_fit(one, p), Error);
  }
  CHECK_THROWS_AS(reliability_bins(one, std::vector{0.5}, 0), Error);
  CHECK_THROWS_AS(brier_score(one, nothing), Error);
}

TEST_CASE("logistic regression finds the minimum that scikit-learn looks for") {
  for (const auto& json : test::golden_stats("linear")) {
    const std::vector<double> x = json.at("features");
    const std::vector<int> y = json.at("labels");
    const LogisticModel model = fit_logistic_model(x, json.at("columns"), y, json.at("l2"));
    REQUIRE(model.weights.size() == json.at("weights").size());
    for (std::size_t k = 0; k < model.weights.size(); ++k) {
      CHECK(same(model.mean[k], json.at("mean")[k]));
      CHECK(same(model.scale[k], json.at("scale")[k], 1e-9));
      CHECK(same(model.weights[k], json.at("weights")[k], 1e-8));
    }
    CHECK(same(model.intercept, json.at("intercept"), 1e-8));
    const std::vector<double> p = probabilities(model, x);
    for (std::size_t i = 0; i < p.size(); ++i) CHECK(same(p[i], json.at("probabilities")[i], 1e-8));
    CHECK(model.iterations < 40);
    // Through a file: the same probabilities, to the bit.
    const auto text = to_json(model).dump();
    CHECK(probabilities(logistic_model_from_json(nlohmann::json::parse(text)), x) == p);
  }
}

TEST_CASE("logistic regression of degenerate features") {
  const std::vector<int> y{0, 0, 1, 1};
  // Separable: the penalty holds the weight, the classes are told apart.
  const std::vector<double> apart{1, 2, 8, 9};
  const LogisticModel model = fit_logistic_model(apart, 1, y, 1e-6);
  CHECK(model.probability(std::vector<double>{2.0}) < 0.01);
  CHECK(model.probability(std::vector<double>{8.0}) > 0.99);
  CHECK(!logistic_newton(apart, 1, y, 0).converged);
  // A constant column has no weight, whatever it is; a column that repeats another shares its
  // weight.
  const LogisticModel both =
      fit_logistic_model(std::vector<double>{1, 0.1, 1, 3, 0.1, 3, 2, 0.1, 2, 9, 0.1, 9}, 3, y);
  CHECK(both.weights[1] == 0);
  CHECK(both.weights[0] == doctest::Approx(both.weights[2]).epsilon(1e-12));
  CHECK(both.probability(std::vector<double>{4, 1e9, 4}) ==
        both.probability(std::vector<double>{4, 0.1, 4}));
  // Half of the samples: only the intercept is left to tell so.
  CHECK(fit_logistic_model(std::vector<double>{5.0, 5, 5, 5}, 1, y)
            .probability(std::vector<double>{5.0}) == 0.5);

  CHECK_THROWS_AS(fit_logistic_model(apart, 1, std::vector<int>{1, 1, 1, 1}), Error);
  CHECK_THROWS_AS(fit_logistic_model(apart, 1, std::vector<int>{0, 1, 2, 1}), Error);
  CHECK_THROWS_AS(fit_logistic_model(apart, 2, y), Error);
  CHECK_THROWS_AS(fit_logistic_model(apart, 0, y), Error);
  CHECK_THROWS_AS(fit_logistic_model(apart, 1, y, 0), Error);
  CHECK_THROWS_AS(fit_logistic_model({}, 1, {}), Error);
  CHECK_THROWS_WITH_AS(fit_logistic_model(std::vector<double>{1, 2, INFINITY, 3}, 1, y),
                       "[stats] feature 0 of sample 2 is not finite", Error);
  CHECK_THROWS_AS(fit_logistic_model(std::vector<double>{1e300, -1e300, 1e300, 0}, 1, y), Error);
  CHECK_THROWS_AS(model.probability(std::vector<double>{1.0, 2.0}), Error);
  CHECK_THROWS_AS(logistic_model_from_json({{"mean", {0}}}), Error);
  CHECK_THROWS_AS(
      logistic_model_from_json({{"mean", {0}}, {"scale", {0}}, {"weights", {1}}, {"intercept", 0}}),
      Error);
}
