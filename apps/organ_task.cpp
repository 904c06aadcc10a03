#include "apps/organ_task.h"

#include <algorithm>
#include <set>

#include "data/augment.h"
#include "data/organs.h"
#include "engine/io/config.h"
#include "kernels/dice_loss/dice_loss.h"
#include "kernels/segmentation_loss/segmentation_loss.h"

namespace thorax::app {
namespace {

// The least value of each organ in the label maps, where these agree.
std::vector<int> values_of(const std::vector<Sample>& samples, std::size_t organs) {
  std::vector<int> counted(organs);
  for (std::size_t k = 0; k < organs; ++k) counted[k] = static_cast<int>(k) + 1;
  std::vector<int> found;
  for (const Sample& sample : samples) {
    if (sample.organs.empty()) continue;
    std::vector<int> own;
    for (const OrganMask& organ : sample.organs.organs)
      if (!organ.values.empty() && organ.values.front() > 0) own.push_back(organ.values.front());
    if (own.size() != organs || (!found.empty() && own != found)) return counted;
    found = own;
  }
  // What is written has 8 bits.
  const bool fits =
      std::all_of(found.begin(), found.end(), [](const int value) { return value <= 255; });
  return found.empty() || !fits ? counted : found;
}

}  // namespace

OrganOutputs organ_task(const TrainSettings& settings, const std::vector<Sample>& samples) {
  OrganOutputs task;
  if (settings.task != Task::segmenter) return task;
  Dataset data;
  data.samples = samples;
  task.organs = organ_names(data);
  const bool labels = organs_are_labels(data);
  if (settings.activation == "auto")
    task.softmax = !task.organs.empty() && labels;
  else
    task.softmax = settings.activation == "softmax";
  if (task.organs.empty() && task.softmax) task.organs = {kLungs};
  task.values = values_of(samples, task.organs.size());
  return task;
}

void check_organ_task(const TrainSettings& settings, const OrganOutputs& task) {
  if (settings.task != Task::segmenter) {
    THORAX_CHECK(settings.loss == "dice" && settings.activation == "auto",
                 "[run] --loss and --activation are of a segmenter, not of a classifier");
    return;
  }
  THORAX_CHECK(task.organs.size() <= kMaxOrgans, "[run] {} organs; {} at most", task.organs.size(),
               kMaxOrgans);
  const double flips = augment_from_json(settings.augment).flip_x_probability;
  if (flips == 0) return;
  const std::vector<std::size_t> mirrored = mirrored_organs(task.organs);
  for (std::size_t k = 0; k < mirrored.size(); ++k)
    THORAX_CHECK(
        mirrored[k] == k,
        "[run] flip_x_probability {}: mirrored images show {} where {} is said to lie, and "
        "neither would be learned; set it to 0 for organs with sides",
        flips, task.organs[mirrored[k]], task.organs[k]);
}

void require_separate_organs(const TrainSettings& settings, const Dataset& dataset) {
  const OrganOutputs organs = organ_task(settings, dataset.samples);
  if (!organs.softmax || organs_are_labels(dataset)) return;
  for (const Sample& sample : dataset.samples) {
    const ImageU16 first = load_mask_pixels(sample.masks.front()).values;
    require_no_overlap(sample_organs(sample, organs.organs, first.height, first.width),
                       organs.organs, sample.image.string());
  }
}

void set_organs(LoaderConfig& config, const OrganOutputs& task) {
  config.organs = task.organs;
  config.exclusive = task.softmax;
}

Variable organ_loss(const TrainSettings& settings, const OrganOutputs& task, const Variable& logits,
                    const Batch& batch) {
  const Tensor& mask = batch.tensors.at("mask");
  if (settings.loss == "dice" && !task.softmax && task.outputs() == 1)
    return dice_loss(logits, mask);
  SegmentationLossOptions options;
  options.softmax = task.softmax;
  options.generalised = settings.loss == "generalised-dice";
  if (settings.loss == "dice+ce") {
    // nnU-Net: Dice of sums, not of squares, beside the cross entropy with the same weight.
    options.squared = false;
    options.cross_entropy = 1;
    options.epsilon = 1e-5;
  }
  return segmentation_loss(logits, task.softmax ? batch.tensors.at("organ") : mask, options);
}

}  // namespace thorax::app
