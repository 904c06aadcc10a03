// What a network says of held-out images, and how wrong that is.
#pragma once

#include <vector>

#include "apps/organ_task.h"
#include "apps/settings.h"
#include "apps/training.h"
#include "data/loader.h"
#include "engine/autograd/variable.h"
#include "models/model.h"

namespace thorax::app {

// What validation judges by; training may weigh classes and smooth labels (class_balance.h).
Variable batch_loss(const TrainSettings& settings, const OrganOutputs& organs,
                    const Variable& logits, const Batch& batch);

// How many labels of a batch of findings are known, which its loss is the mean of.
double known_labels(const Batch& batch);

// Runs the network over a loader in eval mode. Dice, IoU and probabilities are per image; with
// settings.tta "flip" a classifier's are means over the image and its mirror image, while logits
// and `mean_loss` are of the image alone. `mean_loss` is over images, or known labels of findings.
std::vector<Scored> score(const TrainSettings& settings, const OrganOutputs& organs, Model& model,
                          Loader& loader, const Compute& compute, double& mean_loss);

}  // namespace thorax::app
