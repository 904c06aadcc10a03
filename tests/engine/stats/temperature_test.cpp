#include "engine/stats/temperature.h"

#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/io/config.h"
#include "engine/tensor/error.h"
#include "tests/support/places.h"

using namespace thorax;

namespace {
using Logits = std::vector<std::vector<double>>;
}

TEST_CASE("temperature, likelihood and calibration error as SciPy finds them") {
  const nlohmann::json cases = load_json(test::source_folder() / "tests/golden/temperature.json");
  REQUIRE(cases.size() == 6);
  for (const nlohmann::json& c : cases) {
    const auto logits = c.at("logits").get<Logits>();
    const auto labels = c.at("labels").get<std::vector<int>>();
    CAPTURE(logits[0].size());
    const TemperatureFit fit = fit_temperature(logits, labels);
    CHECK(fit.images == static_cast<std::int64_t>(labels.size()));
    // Brent's method stops where values differ by rounding: about the root of that in the place.
    CHECK(fit.temperature == doctest::Approx(c.at("temperature").get<double>()).epsilon(1e-6));
    CHECK(std::abs(fit.nll_before - c.at("nll_before").get<double>()) < 1e-12);
    CHECK(std::abs(fit.nll_after - c.at("nll_after").get<double>()) < 1e-12);
    CHECK(std::abs(fit.ece_before - c.at("ece_before").get<double>()) < 1e-12);
    CHECK(std::abs(fit.ece_after - c.at("ece_after").get<double>()) < 1e-6);
    CHECK(fit.nll_after <= fit.nll_before);
  }
}

TEST_CASE("logits that were multiplied give the temperature multiplied, to rounding") {
  const Logits logits{{1.5}, {-0.5}, {0.3}, {-2.0}, {0.7}, {-0.1}};
  const std::vector<int> labels{1, 0, 0, 0, 1, 1};
  const double one = fit_temperature(logits, labels).temperature;
  Logits sharp = logits;
  for (auto& z : sharp) z[0] *= 5;
  CHECK(fit_temperature(sharp, labels).temperature == doctest::Approx(5 * one).epsilon(1e-11));
  // Two logits that differ by z are one logit z.
  Logits two;
  for (const auto& z : logits) two.push_back({3.0, 3.0 + z[0]});
  CHECK(fit_temperature(two, labels).temperature == doctest::Approx(one).epsilon(1e-11));
}

TEST_CASE("where no temperature is best there is none") {
  const std::vector<int> labels{0, 1, 0, 1};
  CHECK_FALSE(fit_temperature({}, {}).defined());
  CHECK_FALSE(fit_temperature(Logits{{1}, {2}}, std::vector<int>{1, 1}).defined());
  CHECK_FALSE(fit_temperature(Logits{{-1}, {1}, {-2}, {3}}, labels).defined());  // no error
  CHECK_FALSE(
      fit_temperature(Logits{{1}, {-1}, {2}, {-3}}, labels).defined());  // worse than chance
  CHECK_FALSE(fit_temperature(Logits{{0}, {0}, {0}, {0}}, labels).defined());
  CHECK_THROWS_WITH_AS(fit_temperature(Logits{{1}}, labels), doctest::Contains("4 labels"), Error);
  CHECK_THROWS_WITH_AS(fit_temperature(Logits{{1}, {2, 3}, {1}, {1}}, labels),
                       doctest::Contains("sample 1 has 2 logits"), Error);
  CHECK_THROWS_WITH_AS(fit_temperature(Logits{{1}, {NAN}, {1}, {1}}, labels),
                       doctest::Contains("a logit of sample 1"), Error);
  CHECK_THROWS_WITH_AS(
      fit_temperature(Logits{{1, 2}, {1, 2}, {1, 2}, {1, 2}}, std::vector<int>{0, 2, 0, 1}),
      doctest::Contains("label 2 of sample 1"), Error);
}

TEST_CASE("a probability and its logit are changed alike") {
  for (const double z : {-30.0, -2.0, 0.0, 0.1, 5.0, 20.0})
    for (const double t : {0.3, 1.0, 1.7}) {
      const double p = tempered_probabilities(std::vector<double>{z}, 1)[1];
      CHECK(tempered(p, t) ==
            doctest::Approx(tempered_probabilities(std::vector<double>{z}, t)[1]).epsilon(1e-7));
    }
  CHECK(tempered(0, 2) == 0);
  CHECK(tempered(1, 2) == 1);
  CHECK(tempered(0.37, 1) == 0.37);
  const std::vector<double> p = tempered_probabilities(std::vector<double>{1000, 0, -1000}, 2);
  CHECK(p[0] == 1);
  CHECK(p[0] + p[1] + p[2] == 1);
}
