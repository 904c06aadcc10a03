// tests/golden/stats.json, made by scikit-learn, SciPy, statsmodels and MONAI.
#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/places.h"

namespace thorax::test {

inline nlohmann::json golden_file(const std::string& name) {
  std::ifstream file(thorax::test::source_folder() / "tests/golden" / name);
  REQUIRE_MESSAGE(file, name, " is not there");
  return nlohmann::json::parse(file);
}

// One section of stats.json.
inline const nlohmann::json& golden_stats(const std::string& section) {
  static const nlohmann::json all = golden_file("stats.json");
  REQUIRE(!all.at(section).empty());
  return all.at(section);
}

// null stands for NaN or infinity; else equal to `tolerance` of the larger of 1 and the value.
inline bool same(double value, const nlohmann::json& expected, double tolerance = 1e-12) {
  if (expected.is_null()) return !std::isfinite(value);
  const double wanted = expected.get<double>();
  const bool good = std::abs(value - wanted) <= tolerance * std::max(1.0, std::abs(wanted));
  if (!good) MESSAGE("got ", doctest::toString(value), ", expected ", expected.dump());
  return good;
}
// Of the value itself: for small ones, variances and p-values.
inline bool same_relative(double value, const nlohmann::json& expected, double tolerance = 1e-12) {
  if (expected.is_null()) return !std::isfinite(value);
  const double wanted = expected.get<double>();
  const bool good = std::abs(value - wanted) <= tolerance * std::abs(wanted);
  if (!good) MESSAGE("got ", doctest::toString(value), ", expected ", expected.dump());
  return good;
}

struct BinaryCase {
  std::vector<int> labels;
  std::vector<double> scores;
  explicit BinaryCase(const nlohmann::json& json)
      : labels(json.at("labels").get<std::vector<int>>()),
        scores(json.at("scores").get<std::vector<double>>()) {}
};

}  // namespace thorax::test
