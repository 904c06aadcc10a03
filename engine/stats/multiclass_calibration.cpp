#include "engine/stats/multiclass_calibration.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "engine/stats/multiclass.h"

namespace thorax {

MulticlassCalibration multiclass_calibration(std::span<const int> labels,
                                             std::span<const std::vector<double>> probabilities,
                                             int classes, int bins) {
  multiclass_report(labels, probabilities, classes);  // checks them
  MulticlassCalibration result;
  const auto samples = static_cast<double>(labels.size());
  std::vector<int> right;
  std::vector<double> top;
  double brier = 0, log_loss = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const std::vector<double>& p = probabilities[i];
    const auto own = static_cast<std::size_t>(labels[i]);
    const auto predicted = static_cast<std::size_t>(largest(p));
    right.push_back(predicted == own ? 1 : 0);
    top.push_back(p[predicted]);
    for (std::size_t c = 0; c < p.size(); ++c)
      brier += (p[c] - (c == own ? 1 : 0)) * (p[c] - (c == own ? 1 : 0));
    constexpr double edge = std::numeric_limits<double>::epsilon();
    log_loss -= std::log(std::clamp(p[own], edge, 1 - edge));
  }
  result.top_label_bins = reliability_bins(right, top, bins);
  result.top_label = calibration_error(result.top_label_bins);
  double sum = 0;
  for (int c = 0; c < classes; ++c) {
    std::vector<int> of_class;
    std::vector<double> p;
    for (std::size_t i = 0; i < labels.size(); ++i) {
      of_class.push_back(labels[i] == c ? 1 : 0);
      p.push_back(probabilities[i][static_cast<std::size_t>(c)]);
    }
    result.classes.push_back(calibration_error(reliability_bins(of_class, p, bins)));
    sum += result.classes.back().expected;
  }
  result.class_wise = sum / classes;
  if (labels.empty()) return result;
  result.brier = brier / samples;
  result.log_loss = log_loss / samples;
  return result;
}

nlohmann::json to_json(const MulticlassCalibration& c, const std::vector<std::string>& classes) {
  nlohmann::json json = {{"top_label_expected_error", json_number(c.top_label.expected)},
                         {"top_label_largest_error", json_number(c.top_label.largest)},
                         {"class_wise_expected_error", json_number(c.class_wise)},
                         {"brier_score", json_number(c.brier)},
                         {"log_loss", json_number(c.log_loss)}};
  for (std::size_t k = 0; k < c.classes.size(); ++k)
    json["classes"].push_back({{"class", classes.at(k)},
                               {"expected_error", json_number(c.classes[k].expected)},
                               {"largest_error", json_number(c.classes[k].largest)}});
  for (const ReliabilityBin& bin : c.top_label_bins)
    json["top_label_bins"].push_back({{"low", bin.low},
                                      {"high", bin.high},
                                      {"count", bin.count},
                                      {"predicted", json_number(bin.predicted)},
                                      {"observed", json_number(bin.observed)}});
  return json;
}

}  // namespace thorax
