// Whether the predicted probabilities of three classes or more mean what they say.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "engine/stats/calibration.h"

namespace thorax {

struct MulticlassCalibration {
  // Of the largest probability against the share of images whose predicted class is right (Guo et
  // al., On calibration of modern neural networks, ICML 2017).
  CalibrationError top_label;
  std::vector<ReliabilityBin> top_label_bins;
  // Of each class's probability against the share of images of that class, and their mean over the
  // classes (Kull et al., Beyond temperature scaling, NeurIPS 2019).
  std::vector<CalibrationError> classes;
  double class_wise = kUndefined;
  // Mean over the images of the sum over the classes of (probability - [is the class])^2 (Brier
  // 1950): 0 to 2. Mean of -log(probability of the true class), moved into [2^-52, 1 - 2^-52] as
  // calibration.h does.
  double brier = kUndefined, log_loss = kUndefined;
};

// `bins` parts of equal width (reliability_bins). Throws what multiclass_report throws. NaN without
// samples.
MulticlassCalibration multiclass_calibration(std::span<const int> labels,
                                             std::span<const std::vector<double>> probabilities,
                                             int classes, int bins = 10);

nlohmann::json to_json(const MulticlassCalibration& calibration,
                       const std::vector<std::string>& classes);

}  // namespace thorax
