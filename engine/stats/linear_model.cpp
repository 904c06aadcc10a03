#include "engine/stats/linear_model.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "engine/stats/logistic_newton.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

// Mean and deviation of a column; constant where its deviation is nothing but rounding (the bound
// is that of scikit-learn's StandardScaler).
struct Scale {
  double mean, deviation;
  bool constant;
};
Scale column_scale(std::span<const double> features, std::size_t columns, std::size_t column) {
  const double n = static_cast<double>(features.size() / columns);
  double mean = 0;
  for (std::size_t i = column; i < features.size(); i += columns) mean += features[i] / n;
  double rest = 0, variance = 0;
  for (std::size_t i = column; i < features.size(); i += columns) {
    rest += features[i] - mean;
    variance += (features[i] - mean) * (features[i] - mean);
  }
  variance = (variance - rest * rest / n) / n;
  const double epsilon = std::numeric_limits<double>::epsilon();
  const double rounding = n * epsilon * variance + std::pow(n * mean * epsilon, 2);
  THORAX_CHECK(std::isfinite(mean) && std::isfinite(variance),
               "[stats] feature {} is too large to be standardised", column);
  const bool constant = variance <= rounding;
  return {mean, constant ? 1 : std::sqrt(variance), constant};
}

}  // namespace

double LogisticModel::logit(std::span<const double> features) const {
  THORAX_CHECK(features.size() == weights.size(), "[stats] {} features for a model of {}",
               features.size(), weights.size());
  double z = intercept;
  for (std::size_t k = 0; k < weights.size(); ++k)
    z += weights[k] * (features[k] - mean[k]) / scale[k];
  return z;
}

double LogisticModel::probability(std::span<const double> features) const {
  return logistic(logit(features));
}

LogisticModel fit_logistic_model(std::span<const double> features, std::size_t columns,
                                 std::span<const int> labels, double l2) {
  THORAX_CHECK(columns >= 1 && features.size() == columns * labels.size(),
               "[stats] {} features for {} samples of {}", features.size(), labels.size(), columns);
  THORAX_CHECK(l2 > 0 && std::isfinite(l2), "[stats] L2 penalty {} is not above 0", l2);
  bool seen[2] = {false, false};
  for (std::size_t i = 0; i < labels.size(); ++i) {
    THORAX_CHECK(labels[i] == 0 || labels[i] == 1, "[stats] label {} of sample {} is not 0 or 1",
                 labels[i], i);
    seen[labels[i]] = true;
  }
  THORAX_CHECK(seen[0] && seen[1], "[stats] {} samples of one class only: nothing to fit",
               labels.size());
  for (std::size_t i = 0; i < features.size(); ++i)
    THORAX_CHECK(std::isfinite(features[i]), "[stats] feature {} of sample {} is not finite",
                 i % columns, i / columns);

  LogisticModel model;
  std::vector<double> standardised(features.begin(), features.end());
  for (std::size_t k = 0; k < columns; ++k) {
    const auto [mean, deviation, constant] = column_scale(features, columns, k);
    for (std::size_t i = k; i < standardised.size(); i += columns)
      standardised[i] = constant ? 0 : (standardised[i] - mean) / deviation;
    model.mean.push_back(mean);
    model.scale.push_back(deviation);
  }
  const LogisticFit fit = logistic_newton(standardised, columns, labels, l2);
  THORAX_CHECK(
      fit.converged,
      "[stats] logistic regression of {} samples on {} features with L2 penalty {} did not "
      "converge: choose a larger penalty",
      labels.size(), columns, l2);
  model.intercept = fit.coefficients[0];
  model.weights.assign(fit.coefficients.begin() + 1, fit.coefficients.end());
  model.iterations = fit.iterations;
  return model;
}

std::vector<LogisticModel> fit_one_against_rest(std::span<const double> features,
                                                std::size_t columns, std::span<const int> labels,
                                                int classes, double l2) {
  for (std::size_t i = 0; i < labels.size(); ++i)
    THORAX_CHECK(labels[i] >= 0 && labels[i] < classes,
                 "[stats] label {} of sample {}: there are {} classes", labels[i], i, classes);
  std::vector<LogisticModel> models;
  for (int c = 0; c < classes; ++c) {
    std::vector<int> of_class;
    for (const int label : labels) of_class.push_back(label == c ? 1 : 0);
    THORAX_CHECK(std::find(of_class.begin(), of_class.end(), 1) != of_class.end(),
                 "[stats] class {} has none of the {} samples: nothing to fit", c, labels.size());
    models.push_back(fit_logistic_model(features, columns, of_class, l2));
  }
  return models;
}

std::vector<double> probabilities(std::span<const LogisticModel> models,
                                  std::span<const double> features) {
  std::vector<double> result;
  double sum = 0;
  for (const LogisticModel& model : models) {
    result.push_back(model.probability(features));
    sum += result.back();
  }
  for (double& p : result) p = sum > 0 ? p / sum : 1 / static_cast<double>(models.size());
  return result;
}

std::vector<double> probabilities(const LogisticModel& model, std::span<const double> features) {
  const std::size_t columns = model.weights.size();
  THORAX_CHECK(columns >= 1 && features.size() % columns == 0,
               "[stats] {} features for a model of {}", features.size(), columns);
  std::vector<double> result;
  for (std::size_t i = 0; i < features.size(); i += columns)
    result.push_back(model.probability(features.subspan(i, columns)));
  return result;
}

nlohmann::json to_json(const LogisticModel& model) {
  return {{"mean", model.mean},
          {"scale", model.scale},
          {"weights", model.weights},
          {"intercept", model.intercept}};
}

LogisticModel logistic_model_from_json(const nlohmann::json& json) {
  LogisticModel model;
  try {
    json.at("mean").get_to(model.mean);
    json.at("scale").get_to(model.scale);
    json.at("weights").get_to(model.weights);
    json.at("intercept").get_to(model.intercept);
  } catch (const nlohmann::json::exception& error) {
    fail("[stats] logistic model: {}", error.what());
  }
  THORAX_CHECK(!model.weights.empty() && model.mean.size() == model.weights.size() &&
                   model.scale.size() == model.weights.size(),
               "[stats] logistic model: {} weights, {} means, {} scales", model.weights.size(),
               model.mean.size(), model.scale.size());
  const auto finite = [](double value) { return std::isfinite(value); };
  const auto positive = [](double value) { return std::isfinite(value) && value > 0; };
  THORAX_CHECK(std::all_of(model.mean.begin(), model.mean.end(), finite) &&
                   std::all_of(model.scale.begin(), model.scale.end(), positive) &&
                   std::all_of(model.weights.begin(), model.weights.end(), finite) &&
                   finite(model.intercept),
               "[stats] logistic model: a number is not finite, or a scale not above 0");
  return model;
}

}  // namespace thorax
