// A prediction as JSON: what `thorax predict --json` prints of an image.
#pragma once

#include <nlohmann/json.hpp>
#include <span>

#include "apps/inference/predictor.h"

namespace thorax {

// {"image", "verdict", "probability" or "findings", ...}; apps/README.md lists the keys. Strings
// are as they are: engine/io/json_text.h's dump_json writes names that are no UTF-8.
nlohmann::ordered_json to_json(const Prediction& prediction, const Predictor& predictor);

// [{"finding", "probability", "threshold", "verdict": "positive" or "negative"}, ...]
nlohmann::ordered_json findings_json(const Ensemble& classifier,
                                     std::span<const double> probabilities,
                                     std::span<const double> thresholds);

}  // namespace thorax
