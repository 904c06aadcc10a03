#include "apps/class_balance.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "data/classes.h"
#include "kernels/cross_entropy/cross_entropy.h"

namespace thorax::app {
namespace {

// NAME=W,... in its parts; a name may hold "=", the weight follows the last one.
std::vector<std::pair<std::string, double>> named_weights(const std::string& text) {
  std::vector<std::pair<std::string, double>> result;
  for (std::size_t from = 0; from <= text.size();) {
    const std::size_t end = std::min(text.find(',', from), text.size());
    const std::string part = text.substr(from, end - from);
    from = end + 1;
    const std::size_t at = part.rfind('=');
    double weight = 0;
    bool good = at != std::string::npos && at > 0;
    if (good) {
      const char* last = part.data() + part.size();
      const auto [rest, error] = std::from_chars(part.data() + at + 1, last, weight);
      good = error == std::errc() && rest == last && weight > 0 && weight <= 1e6;
    }
    THORAX_CHECK(good,
                 "[settings] --class-weights {}: '{}' is not NAME=W with a weight above 0, up to "
                 "1000000; none, balanced or NAME=W,NAME=W,... are understood",
                 text, part);
    const std::string name = part.substr(0, at);
    for (const auto& [other, value] : result)
      THORAX_CHECK(!same_class(other, name), "[settings] --class-weights {}: '{}' is there twice",
                   text, name);
    result.emplace_back(name, weight);
  }
  return result;
}

bool named(const std::string& text) {
  return text != "none" && text != "balanced";
}

std::size_t index_of(const std::string& name, const std::vector<std::string>& classes,
                     const std::string& text) {
  const auto found = std::find_if(classes.begin(), classes.end(),
                                  [&](const std::string& c) { return same_class(c, name); });
  THORAX_CHECK(found != classes.end(),
               "[settings] --class-weights {}: the data has no class '{}'; its classes: {}", text,
               name, fmt::join(classes, ", "));
  return static_cast<std::size_t>(found - classes.begin());
}

std::vector<double> balanced_findings(std::size_t findings, const std::vector<Sample>& train) {
  std::vector<double> result;
  for (std::size_t f = 0; f < findings; ++f) {
    double with = 0, without = 0;
    for (const Sample& s : train) {
      if (s.labels[f] > 0) ++with;
      if (s.labels[f] == 0) ++without;
    }
    result.push_back(with > 0 && without > 0 ? without / with : 1);
  }
  return result;
}

}  // namespace

void check_balance(const TrainSettings& s) {
  if (named(s.class_weights)) named_weights(s.class_weights);
  THORAX_CHECK(
      s.sampling != "balanced" || s.class_weights != "balanced",
      "[settings] --class-weights balanced with --sampling balanced makes up for the sizes "
      "of the classes twice: give one of them");
}

void check_balance(const TrainSettings& s, const Dataset& dataset) {
  if (s.task != Task::classifier) return;
  if (named(s.class_weights))
    for (const auto& [name, weight] : named_weights(s.class_weights))
      index_of(name, dataset.classes, s.class_weights);
}

std::vector<double> class_weights(const TrainSettings& s, const std::vector<std::string>& classes,
                                  const std::vector<Sample>& train) {
  if (s.class_weights == "none") return {};
  std::vector<double> weights(classes.size(), 1);
  if (named(s.class_weights)) {
    for (const auto& [name, weight] : named_weights(s.class_weights))
      weights[index_of(name, classes, s.class_weights)] = weight;
    return weights;
  }
  if (!train.empty() && !train.front().labels.empty())
    return balanced_findings(classes.size(), train);
  for (std::size_t c = 0; c < classes.size(); ++c) {
    const auto images = std::count_if(train.begin(), train.end(), [&](const Sample& sample) {
      return sample.label == static_cast<int>(c);
    });
    THORAX_CHECK(images > 0,
                 "[train] --class-weights balanced divides by the images of a class, and '{}' has "
                 "none to train on here: give NAME=W,... or none",
                 classes[c]);
    weights[c] = static_cast<double>(train.size()) /
                 (static_cast<double>(classes.size()) * static_cast<double>(images));
  }
  return weights;
}

ClassifierLoss::ClassifierLoss(const TrainSettings& s, const std::vector<std::string>& classes,
                               const std::vector<Sample>& train, Device device)
    : smoothing_(s.label_smoothing),
      findings_(!train.empty() && !train.front().labels.empty()),
      two_classes_(!findings_ && classes.size() == 2),
      weights_(class_weights(s, classes, train)) {
  if (findings_ || two_classes_ || weights_.empty()) return;
  const std::vector<float> values(weights_.begin(), weights_.end());
  of_classes_ = Tensor::from(values, {static_cast<std::int64_t>(values.size())}).to(device);
}

void ClassifierLoss::configure(LoaderConfig& config) const {
  const auto smooth = static_cast<float>(smoothing_);
  if (findings_) {
    config.label_smoothing = smooth;
    config.finding_weights.assign(weights_.begin(), weights_.end());
  } else if (two_classes_ && (!weights_.empty() || smoothing_ > 0)) {
    config.label_smoothing = smooth;
    config.with_target = true;
    if (!weights_.empty()) config.target_weight = static_cast<float>(weights_[0]);
  }
}

Variable ClassifierLoss::operator()(const Variable& logits, const Batch& batch) const {
  // Of two classes: w0 (1 - t) softplus(x) + w1 t softplus(-x) with smoothed t, the mean over the
  // images; what cross_entropy gives for logits 0 and x.
  if (const auto target = batch.tensors.find("target"); target != batch.tensors.end())
    return bce_with_logits(logits, target->second, weights_.empty() ? 1 : weights_[1] / weights_[0],
                           batch.tensors.at("target_weight"));
  if (!findings_ && logits.value().size(1) > 1)
    return cross_entropy(logits, batch.tensors.at("label"), smoothing_, of_classes_);
  return classification_loss(logits, batch);
}

Variable classification_loss(const Variable& logits, const Batch& batch) {
  // The mean over the labels that are known.
  if (const auto known = batch.tensors.find("finding_weights"); known != batch.tensors.end())
    return bce_with_logits(logits, batch.tensors.at("findings"), 1, known->second);
  const Tensor& labels = batch.tensors.at("label");
  if (logits.value().size(1) > 1) return cross_entropy(logits, labels);
  return bce_with_logits(logits, labels.to(DType::f32).reshape({labels.numel(), 1}));
}

}  // namespace thorax::app
