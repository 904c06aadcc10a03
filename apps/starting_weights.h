// What a network is given before it is trained: --weights.
#pragma once

#include <string>
#include <vector>

#include "apps/inference/organ_outputs.h"
#include "apps/settings.h"
#include "models/model.h"

namespace thorax::app {

// Loads settings.weights and says on stdout what was taken, renamed, changed and left out. Weights
// of the same task on the same classes or organs go on with their head; of any other, and of those
// that do not say, the head starts new.
void start_from(const TrainSettings& settings, const std::vector<std::string>& classes,
                bool multilabel, const OrganOutputs& organs, const Model& model);

}  // namespace thorax::app
