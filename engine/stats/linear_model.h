// Logistic regression with an L2 penalty on a few features per image: the baseline that a network
// has to beat, and the test of whether brightness and contrast alone tell two classes (or two
// hospitals) apart.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <vector>

namespace thorax {

struct LogisticModel {
  // Of the features it was fitted on: what is taken off, what it is divided by (population standard
  // deviation; 1 for a feature that is constant, whose weight is then 0).
  std::vector<double> mean, scale;
  std::vector<double> weights;  // for standardised features
  double intercept = 0;
  int iterations = 0;

  // Of one sample's features; logit and probability of class 1.
  double logit(std::span<const double> features) const;
  double probability(std::span<const double> features) const;
};

// Fits on rows of `columns` finite features, one row per label 0 / 1. Minimises the summed log loss
// plus l2 / 2 |weights|^2, the intercept free: scikit-learn's LogisticRegression(C = 1 / l2) behind
// its StandardScaler. Separable classes and features that repeat one another are no trouble while
// l2 > 0. Throws Error "[stats] ..." for sizes that do not fit, a feature that is not finite, l2
// not above 0, and labels of one class only (no finite intercept).
LogisticModel fit_logistic_model(std::span<const double> features, std::size_t columns,
                                 std::span<const int> labels, double l2 = 1);

// Three classes or more: a model of each against the rest, in the order of the labels. Throws as
// above, and when a class of 0 .. classes - 1 has no sample.
std::vector<LogisticModel> fit_one_against_rest(std::span<const double> features,
                                                std::size_t columns, std::span<const int> labels,
                                                int classes, double l2 = 1);
// Of one sample: each model's probability, divided by their sum (equal shares where all are 0):
// scikit-learn's OneVsRestClassifier(LogisticRegression(C = 1 / l2)).predict_proba.
std::vector<double> probabilities(std::span<const LogisticModel> models,
                                  std::span<const double> features);

// Probabilities of many rows.
std::vector<double> probabilities(const LogisticModel& model, std::span<const double> features);

nlohmann::json to_json(const LogisticModel& model);
// Throws Error "[stats] ..." for a field that is missing, of the wrong size or not finite.
LogisticModel logistic_model_from_json(const nlohmann::json& json);

}  // namespace thorax
