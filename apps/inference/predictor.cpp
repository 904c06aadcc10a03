#include "apps/inference/predictor.h"

#include <fmt/format.h>

#include <algorithm>

#include "apps/inference/mirror.h"
#include "data/view.h"
#include "engine/runtime/device.h"
#include "engine/stats/multiclass.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

ClassifierOptions checked(const PredictorOptions& options) {
  THORAX_CHECK(!options.threshold || (*options.threshold >= 0 && *options.threshold <= 1),
               "[predict] threshold {}: a probability from 0 to 1", *options.threshold);
  return options.classifier;
}

}  // namespace

Predictor::Predictor(const PredictorOptions& options)
    : compute_(options.compute),
      classifier_(checked(options), options.compute),
      min_area_(options.min_area),
      notes_(classifier_.notes()) {
  const View view = classifier_.input().view;
  THORAX_CHECK(classifier_.binary() || classifier_.multilabel() || !options.threshold,
               "[predict] --threshold {}: {} tells {} classes apart ({}), a threshold is for two",
               *options.threshold, classifier_.name(), classifier_.classes().size(),
               fmt::join(classifier_.classes(), ", "));
  THORAX_CHECK(!needs_mask(view) || !options.segmenters.empty(),
               "[predict] {}: was trained on the view '{}', which needs the lungs: give a "
               "segmenter (--segmenter) too",
               classifier_.name(), name_of(view));
  if (classifier_.multilabel())
    thresholds_ = thresholds_of(classifier_, options.threshold);
  else if (classifier_.binary())
    thresholds_ = {options.threshold.value_or(classifier_.threshold())};
  if (options.segmenters.empty()) return;
  segmenter_ = std::make_unique<LungSegmenter>(options.segmenters, min_area_, compute_);
  notes_.insert(notes_.end(), segmenter_->notes().begin(), segmenter_->notes().end());
  segmenter_->set_flips(parse_tta(options.classifier.tta));
  segmenter_->set_intensity(chosen_intensity(options.classifier.intensity, segmenter_->intensity(),
                                             options.segmenters.front(), notes_));
}

Predictor::Reading Predictor::read(const ImageSource& source) const {
  const Intensity intensity = classifier_.input().intensity;
  Reading reading{read_radiograph(source, intensity), {}};
  if (segmenter_ && segmenter_->intensity() != intensity)
    reading.for_segmenter = source.gray(segmenter_->intensity());
  return reading;
}

Prediction Predictor::predict(Reading reading, const CamOptions* heatmap_options) const {
  const std::scoped_lock lock(mutex_);
  const DeviceScope device(compute_.device);  // kernels go by the current device's architecture
  Prediction p;
  p.image = std::move(reading.image.name);
  p.notes = std::move(reading.image.notes);
  p.reason = reading.image.blank_text();
  p.gray = std::move(reading.image.gray);
  if (p.reason.empty() && segmenter_) {
    p.lungs = (*segmenter_)(reading.for_segmenter.empty() ? p.gray : reading.for_segmenter);
    p.reason = p.lungs->reason;
  }
  if (!p.reason.empty()) return p;
  const Image seen =
      apply_view(classifier_.input().view, p.gray, p.lungs ? p.lungs->mask : ImageU8());
  p.opinion = classifier_({seen}).front();
  const std::vector<double>& probabilities = p.opinion.probabilities;
  p.predicted = classifier_.binary() ? std::size_t{probabilities[1] >= thresholds_[0]}
                                     : static_cast<std::size_t>(largest(probabilities));
  p.verdict = classifier_.classes()[*p.predicted];
  if (classifier_.multilabel()) {
    p.verdict = findings_verdict(classifier_, probabilities, thresholds_);
    p.predicted = p.verdict == "none" ? 0 : 1;
  }
  if (heatmap_options != nullptr) p.heatmap = heatmap(seen, p, *heatmap_options);
  return p;
}

Heatmap Predictor::heatmap(const Image& seen, const Prediction& p,
                           const CamOptions& options) const {
  const auto classes = static_cast<std::int64_t>(classifier_.classes().size());
  THORAX_CHECK(
      options.target == kPredictedClass || (options.target >= 0 && options.target < classes),
      "[explain] class {}: the classifier has {} classes or findings", options.target, classes);
  Explainers explainers;
  for (const auto& member : classifier_.members()) explainers.push_back(member.get());
  auto found = layers_.find(options.layer);
  if (found == layers_.end())
    found = layers_.emplace(options.layer, chosen_layers(explainers, options.layer)).first;
  ExplainedImage e = explain_images(explainers, found->second, {seen},
                                    {{p.gray.height, p.gray.width}}, options, p.image)
                         .front();
  Heatmap heatmap{Image(p.gray.height, p.gray.width), static_cast<std::size_t>(e.target), e.peak,
                  found->second};
  std::copy_n(e.map.data<float>(), e.map.numel(), heatmap.map.pixels.begin());
  return heatmap;
}

}  // namespace thorax
