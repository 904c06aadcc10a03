// Several findings an image, as programs use them: each has a probability, a threshold and a
// verdict of its own.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "apps/inference/ensemble.h"
#include "apps/inference/model_file.h"
#include "apps/training.h"

namespace thorax::app {

// Labels and probabilities of scored images, as engine/stats/multilabel.h wants them.
struct FindingScores {
  std::vector<std::vector<std::int8_t>> labels;
  std::vector<std::vector<double>> probabilities;
};
FindingScores finding_scores(const std::vector<Scored>& scored);

// Youden's point of each finding on held-out images whose label is known; none where one kind of
// label is absent or no threshold does better than chance.
std::vector<std::optional<OperatingThreshold>> youden_thresholds(const std::vector<Scored>& scored,
                                                                 std::size_t findings);
// Metadata entry "thorax.thresholds" of a checkpoint.
std::map<std::string, std::string> finding_threshold_metadata(
    const std::vector<Scored>& scored, const std::vector<std::string>& findings);

// Which thresholds the verdicts go by, and where each is from: a line for each finding.
std::string thresholds_text(const Ensemble& classifier, std::optional<double> stated);

}  // namespace thorax::app
