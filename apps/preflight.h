// What is found wrong before anything is written.
#pragma once

#include <filesystem>
#include <vector>

#include "apps/settings.h"
#include "data/dataset.h"

namespace thorax::app {

// Throws Error where no setting helps: a classifier's data without two classes or, of two,
// a known positive one (data/classes.h), a segmenter's
// without masks.
void check_learnable(Task task, const Dataset& dataset);

// Throws Error when the classifier is shown lungs, or images without them, no segmenter finds them
// and images have no lung mask.
void check_lungs(const TrainSettings& settings, const Dataset& dataset);

// Builds the network, with the weights it starts from, and shows it an empty image: throws Error
// when its input cannot have this size, or it does not give `outputs` logits an image (classifier)
// or one a pixel (segmenter), or cannot be trained on one image at a time where --batch 1 asks for
// it.
void check_network(const TrainSettings& settings, std::size_t outputs);

// Throws Error when an image, mask, segmenter or file of weights lies in `folder` (without symbolic
// links), which is about to be replaced.
void check_inputs_outside(const TrainSettings& settings, const Dataset& dataset,
                          const std::filesystem::path& folder);

}  // namespace thorax::app
