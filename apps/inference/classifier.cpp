#include "apps/inference/classifier.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "apps/inference/mirror.h"
#include "data/resize.h"
#include "engine/stats/temperature.h"

namespace thorax {

double probability(double logit) {
  return logit >= 0 ? 1 / (1 + std::exp(-logit)) : std::exp(logit) / (1 + std::exp(logit));
}

std::vector<double> class_probabilities(std::span<const float> logits, double temperature) {
  if (logits.size() == 1) {
    const double p = probability(logits[0] / temperature);
    return {1 - p, p};
  }
  const double most = *std::max_element(logits.begin(), logits.end());
  std::vector<double> result;
  double sum = 0;
  for (const float logit : logits) {
    result.push_back(std::exp((logit - most) / temperature));
    sum += result.back();
  }
  for (double& p : result) p /= sum;
  return result;
}

std::vector<double> finding_probabilities(std::span<const float> logits) {
  std::vector<double> result;
  for (const float logit : logits) result.push_back(probability(logit));
  return result;
}

std::vector<double> Classifier::probabilities(std::span<const float> logits) const {
  return multilabel() ? finding_probabilities(logits) : class_probabilities(logits, temperature_);
}

Classifier::Classifier(const std::filesystem::path& checkpoint, const Compute& compute)
    : compute_(compute) {
  TrainedModel trained = load_trained(checkpoint, "classifier");
  input_ = std::move(trained.input);
  model_ = std::move(trained.model);
  notes_ = std::move(trained.notes);
  THORAX_CHECK(input_.classes.size() >= (input_.multilabel ? 1 : 2),
               "[model] {}: is a classifier of {} classes, not of two or more", checkpoint.string(),
               input_.classes.size());
  if (!input_.positive_stated)
    notes_.push_back(fmt::format(
        "{}: was written before checkpoints named the positive class: it is the last of "
        "{}: {}",
        checkpoint.string(), fmt::join(input_.classes, ", "), positive_class()));
  model_->to(compute.device);
}

Tensor Classifier::network_input(const std::vector<Image>& grays) const {
  const auto count = static_cast<std::int64_t>(grays.size());
  const std::int64_t pixels = std::int64_t{input_.size} * input_.size;
  const Tensor x = Tensor::empty({count, input_.size, input_.size, 1});
  for (std::int64_t n = 0; n < count; ++n) {
    const Image scaled = resize(grays[static_cast<std::size_t>(n)], input_.size, input_.size);
    normalise(scaled.pixels, x.data<float>() + n * pixels);
  }
  return x;
}

double Classifier::threshold() const {
  const double raw = input_.threshold ? input_.threshold->threshold : 0.5;
  if (temperature_ == 1) return raw;
  // A hair lower, so that rounding does not turn the verdict on the image that it was found on.
  return tempered(raw, temperature_) * (1 - 0x1p-40);
}

std::vector<std::vector<double>> Classifier::operator()(const std::vector<Image>& grays) const {
  std::vector<std::vector<double>> result = probabilities_of(grays);
  if (!flips_) return result;
  std::vector<Image> mirrored;
  for (const Image& gray : grays) mirrored.push_back(mirror(gray));
  const std::vector<std::vector<double>> other = probabilities_of(mirrored);
  for (std::size_t n = 0; n < result.size(); ++n)
    for (std::size_t c = 0; c < result[n].size(); ++c)
      result[n][c] = (result[n][c] + other[n][c]) / 2;
  return result;
}

std::vector<std::vector<double>> Classifier::probabilities_of(
    const std::vector<Image>& grays) const {
  const auto count = static_cast<std::int64_t>(grays.size());
  const std::int64_t outputs = binary() ? 1 : static_cast<std::int64_t>(classes().size());
  const Tensor x = network_input(grays);
  const NoGrad no_grad;
  const Tensor logits =
      model_->logits(Variable(x.to(compute_.device)), compute_.precision).value().to(Device{});
  THORAX_CHECK(logits.shape() == (Shape{count, outputs}),
               "[predict] logits {} for {} images of {} classes", logits.shape(), count,
               classes().size());
  check_logits(logits, "predict", count == 1 ? "the image" : fmt::format("{} images", count));
  std::vector<std::vector<double>> result;
  for (std::int64_t n = 0; n < count; ++n)
    result.push_back(
        probabilities({logits.data<float>() + n * outputs, static_cast<std::size_t>(outputs)}));
  return result;
}

}  // namespace thorax
