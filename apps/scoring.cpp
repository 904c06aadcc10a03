#include "apps/scoring.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "apps/class_balance.h"
#include "apps/inference/classifier.h"
#include "apps/inference/model_file.h"
#include "engine/stats/surface_distance.h"

namespace thorax::app {

double known_labels(const Batch& batch) {
  const Tensor weights = batch.tensors.at("finding_weights").to(Device{}).to_contiguous();
  double known = 0;
  for (std::int64_t i = 0; i < weights.numel(); ++i) known += weights.data<float>()[i] > 0;
  return known;
}

Variable batch_loss(const TrainSettings& s, const OrganOutputs& organs, const Variable& logits,
                    const Batch& batch) {
  if (s.task == Task::segmenter) return organ_loss(s, organs, logits, batch);
  return classification_loss(logits, batch);
}

namespace {

// Of the masks logit > 0 and truth > 0.5, in pixels.
double hausdorff95(const Tensor& logits, const Tensor& truth) {
  const Tensor a = logits.to_contiguous(), b = truth.to_contiguous();
  const auto mask = [](const Tensor& t, float threshold) {
    std::vector<std::uint8_t> set(static_cast<std::size_t>(t.numel()));
    for (std::size_t i = 0; i < set.size(); ++i) set[i] = t.data<float>()[i] > threshold ? 1 : 0;
    return set;
  };
  return surface_distances(mask(a, 0.f), mask(b, 0.5f), a.size(1), a.size(2)).hausdorff95;
}

// N x height x width x channels, left and right swapped.
Tensor mirrored(const Tensor& images) {
  const Tensor from = images.to_contiguous(), result = from.clone();
  const std::int64_t width = from.size(2), channels = from.size(3);
  const float* x = from.data<float>();
  float* y = result.data<float>();
  for (std::int64_t row = 0; row < from.size(0) * from.size(1); ++row)
    for (std::int64_t column = 0; column < width; ++column)
      std::copy_n(x + (row * width + column) * channels, channels,
                  y + (row * width + width - 1 - column) * channels);
  return result;
}

// A classifier's probabilities from its output for one image.
void judge(const float* logits, std::int64_t outputs, Scored& row) {
  const std::span<const float> own(logits, static_cast<std::size_t>(outputs));
  if (!row.labels.empty())
    row.probabilities = finding_probabilities(own);
  else if (outputs == 1)
    row.score = probability(*logits);
  else
    row.probabilities = class_probabilities(own);
}

// The mean of the probabilities of an image and of another view of it.
void add_view(const Scored& view, Scored& row) {
  row.score = (row.score + view.score) / 2;
  for (std::size_t c = 0; c < row.probabilities.size(); ++c)
    row.probabilities[c] = (row.probabilities[c] + view.probabilities[c]) / 2;
}

}  // namespace

std::vector<Scored> score(const TrainSettings& s, const OrganOutputs& organs, Model& model,
                          Loader& loader, const Compute& compute, double& mean_loss) {
  const bool was_training = model.training();
  model.eval();
  const NoGrad no_grad;
  const bool flips = s.task == Task::classifier && s.tta == "flip";
  std::vector<Scored> result;
  double loss = 0, losses = 0;  // images, or labels of findings
  std::map<std::string, const Sample*> by_image;
  for (const Sample& sample : loader.samples()) by_image[sample.image.string()] = &sample;
  for (std::int64_t index = 0; index < loader.batches_per_epoch(); ++index) {
    const Batch batch = loader.get(0, index);
    if (batch.names.empty()) continue;  // every file of it was unreadable, and that was allowed
    Batch there = batch;
    for (auto& [name, tensor] : there.tensors) tensor = tensor.to(compute.device);
    const Variable computed = model.logits(Variable(there.tensors.at("image")), compute.precision);
    const Tensor logits = computed.value().to(Device{});
    const auto count = static_cast<std::int64_t>(batch.names.size());
    const std::string names = fmt::format("{}", fmt::join(batch.names, ", "));
    check_logits(logits, "train", names);
    Tensor other;  // of the mirror images
    if (flips) {
      const Tensor seen = mirrored(batch.tensors.at("image")).to(compute.device);
      other = model.logits(Variable(seen), compute.precision).value().to(Device{});
      check_logits(other, "train", names);
    }
    const double weight =
        loader.config().with_findings ? known_labels(batch) : static_cast<double>(count);
    loss += batch_loss(s, organs, computed, there).value().item() * weight;
    losses += weight;
    for (std::int64_t n = 0; n < count; ++n) {
      const std::string& name = batch.names[static_cast<std::size_t>(n)];
      const Sample& sample = *by_image.at(name);
      Scored row{sample.id, sample.patient, sample.source, sample.label, 0, 0, 0, {}};
      if (s.task == Task::segmenter && !organs.plain()) {
        row.organs = organ_scores(logits.batch_slice(n, 1),
                                  batch.tensors.at("mask").batch_slice(n, 1), organs.softmax);
        set_means(row);
      } else if (s.task == Task::segmenter) {
        const OverlapCounts counts =
            overlap(logits.batch_slice(n, 1), batch.tensors.at("mask").batch_slice(n, 1), 0.0);
        row.score = counts.dice();
        row.iou = counts.iou();
        row.hausdorff95 =
            hausdorff95(logits.batch_slice(n, 1), batch.tensors.at("mask").batch_slice(n, 1));
      } else {
        const std::int64_t outputs = logits.size(1);
        const float* own = logits.data<float>() + n * outputs;
        row.logits.assign(own, own + outputs);
        row.labels = sample.labels;
        judge(own, outputs, row);
        if (flips) {
          Scored mirror_image = row;
          judge(other.data<float>() + n * outputs, outputs, mirror_image);
          add_view(mirror_image, row);
        }
      }
      result.push_back(std::move(row));
    }
  }
  mean_loss = losses > 0 ? loss / losses : 0;
  model.train(was_training);
  return result;
}

}  // namespace thorax::app
