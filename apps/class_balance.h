// Classes of different sizes, and labels that are not certain: weights of the classes in a
// classifier's loss, label smoothing, balanced batches.
#pragma once

#include <string>
#include <vector>

#include "apps/settings.h"
#include "data/loader.h"
#include "engine/autograd/variable.h"
#include "engine/train/batch_source.h"

namespace thorax::app {

// Throws Error "[settings] ..." for --class-weights that are none of "none", "balanced" and
// NAME=W,..., and for balanced weights on balanced batches, which would make up for sizes twice.
void check_balance(const TrainSettings& settings);
// The same where the data are known: names that are no class of the data.
void check_balance(const TrainSettings& settings, const Dataset& dataset);

// The weight of each class in the loss of a training on `train`; empty for "none". "balanced":
// images / (classes x images of the class), scikit-learn's compute_class_weight("balanced"); of
// several findings an image the weight of a finding that is there, images without over images with
// it (1 where none has it), as PyTorch's pos_weight. NAME=W,...: those, the others 1. Throws Error
// "[train] ..." for a class without an image to train on.
std::vector<double> class_weights(const TrainSettings& settings,
                                  const std::vector<std::string>& classes,
                                  const std::vector<Sample>& train);

// The loss of a classifier's training. Without weights and smoothing it is that of validation: the
// mean of the cross entropies.
class ClassifierLoss {
 public:
  ClassifierLoss(const TrainSettings& settings, const std::vector<std::string>& classes,
                 const std::vector<Sample>& train, Device device);
  // What the loader of the training images is to put into its batches.
  void configure(LoaderConfig& config) const;
  // Of a batch of that loader.
  Variable operator()(const Variable& logits, const Batch& batch) const;

 private:
  double smoothing_ = 0;
  bool findings_ = false, two_classes_ = false;
  std::vector<double> weights_;  // of the classes; empty: all are 1
  Tensor of_classes_;            // the same on the device, of three classes or more
};

// The mean cross entropy of a batch: of one logit and of several by the batch's labels, of findings
// by those that are known.
Variable classification_loss(const Variable& logits, const Batch& batch);

}  // namespace thorax::app
