// What a segmenter is to find: its organs, how its outputs are read, what it learns by.
#pragma once

#include <string>
#include <vector>

#include "apps/inference/organ_outputs.h"
#include "apps/settings.h"
#include "data/dataset.h"
#include "data/loader.h"
#include "engine/autograd/variable.h"
#include "engine/train/batch_source.h"

namespace thorax::app {

// Of the data and --activation: label maps are told apart by softmax, masks of their own, which may
// overlap, by a sigmoid each. Values are those of the label maps where all agree, else 1, 2, ...
OrganOutputs organ_task(const TrainSettings& settings, const std::vector<Sample>& samples);

// Throws Error "[run] ..." for a loss or activation that the task does not have.
void check_organ_task(const TrainSettings& settings, const OrganOutputs& task);

// Throws Error "[organs] FILE: ..." where masks of their own overlap and softmax is wanted: opens
// them again, all of them.
void require_separate_organs(const TrainSettings& settings, const Dataset& dataset);

void set_organs(LoaderConfig& config, const OrganOutputs& task);

// --loss on logits N x H x W x outputs and a batch of the loader.
Variable organ_loss(const TrainSettings& settings, const OrganOutputs& task, const Variable& logits,
                    const Batch& batch);

}  // namespace thorax::app
