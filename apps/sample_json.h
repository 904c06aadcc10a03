// A sample as JSON, whole: rank 0 hands the images to be learned from to the other ranks.
#pragma once

#include <nlohmann/json.hpp>

#include "data/dataset.h"

namespace thorax::app {

nlohmann::json sample_to_json(const Sample& sample);
Sample sample_from_json(const nlohmann::json& json);

}  // namespace thorax::app
