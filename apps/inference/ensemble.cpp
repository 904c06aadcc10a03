#include "apps/inference/ensemble.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "apps/inference/mirror.h"
#include "apps/inference/run_networks.h"

namespace thorax {
namespace {

namespace fs = std::filesystem;

double chosen_temperature(const std::string& given, const ModelInput& input) {
  if (const std::optional<double> stated = parse_temperature(given)) return *stated;
  return input.temperature ? input.temperature->temperature : 1;
}

}  // namespace

std::optional<double> parse_temperature(const std::string& text) {
  if (text == "checkpoint") return std::nullopt;
  if (text == "off") return 1;
  double value = 0;
  const char* last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, value);
  THORAX_CHECK(error == std::errc() && end == last && value >= 1e-3 && value <= 1e3,
               "[ensemble] temperature '{}' is neither checkpoint nor off nor a number in "
               "0.001..1000",
               text);
  return value;
}

Ensemble::Ensemble(const ClassifierOptions& options, const Compute& compute)
    : files_(classifier_files(options.files)), temperature_(options.temperature) {
  THORAX_CHECK(!files_.empty(), "[ensemble] no classifier: name a checkpoint (--classifier)");
  const bool flips = parse_tta(options.tta);
  for (const fs::path& file : files_) {
    Classifier& member = *members_.emplace_back(std::make_unique<Classifier>(file, compute));
    const Classifier& first = *members_.front();
    const auto agree = [&](bool same, const char* what, const std::string& theirs,
                           const std::string& ours, const char* remedy) {
      THORAX_CHECK(same, "[ensemble] {} and {}: {} differ: {} and {}; {}", files_.front().string(),
                   file.string(), what, theirs, ours, remedy);
    };
    constexpr const char* kApart = "such networks do not speak of the same thing";
    agree(member.classes() == first.classes(), "their classes",
          fmt::format("{}", fmt::join(first.classes(), ", ")),
          fmt::format("{}", fmt::join(member.classes(), ", ")), kApart);
    agree(member.input().view == first.input().view, "the views they were trained on",
          name_of(first.input().view), name_of(member.input().view), kApart);
    std::vector<std::string> own = member.notes();
    member.set_intensity(
        chosen_intensity(options.intensity, member.input().intensity, file.string(), own));
    notes_.insert(notes_.end(), own.begin(), own.end());
    agree(member.input().intensity == first.input().intensity, "the intensities",
          name_of(first.input().intensity), name_of(member.input().intensity),
          "choose one with --intensity");
    agree(member.multilabel() == first.multilabel(), "their tasks",
          first.multilabel() ? "several findings an image" : "one class an image",
          member.multilabel() ? "several findings an image" : "one class an image", kApart);
    const bool a_number = options.temperature != "off" && options.temperature != "checkpoint";
    THORAX_CHECK(!member.multilabel() || !a_number,
                 "[ensemble] {}: --temperature {}: of several findings an image each has a "
                 "threshold of its own, for probabilities as they are: off, or leave it out",
                 file.string(), options.temperature);
    member.set_temperature(chosen_temperature(options.temperature, member.input()));
    member.set_flips(flips);
  }
}

std::string Ensemble::name() const {
  return files_.front().string() +
         (files_.size() > 1 ? fmt::format(" and {} more", files_.size() - 1) : std::string());
}

double Ensemble::threshold() const {
  double sum = 0;
  for (const auto& member : members_) sum += member->threshold();
  return sum / static_cast<double>(members_.size());
}

Opinion Ensemble::opinion(std::vector<std::vector<double>> members) const {
  Opinion result;
  const auto count = static_cast<double>(members.size());
  for (std::size_t c = 0; c < members.front().size(); ++c) {
    double sum = 0, squares = 0;
    for (const auto& p : members) sum += p[c];
    const double mean = sum / count;
    for (const auto& p : members) squares += (p[c] - mean) * (p[c] - mean);
    result.probabilities.push_back(mean);
    result.spread.push_back(members.size() > 1 ? std::sqrt(squares / (count - 1)) : 0);
  }
  result.members = std::move(members);
  return result;
}

std::vector<Opinion> Ensemble::operator()(const std::vector<Image>& grays) const {
  std::vector<std::vector<std::vector<double>>> by_image(grays.size());
  for (const auto& member : members_) {
    std::vector<std::vector<double>> own = (*member)(grays);
    for (std::size_t n = 0; n < grays.size(); ++n) by_image[n].push_back(std::move(own[n]));
  }
  std::vector<Opinion> result;
  for (auto& members : by_image) result.push_back(opinion(std::move(members)));
  return result;
}

std::vector<std::string> Ensemble::lines() const {
  std::vector<std::string> lines;
  if (members_.size() > 1) {
    lines.push_back(
        fmt::format("ensemble of {}: P is the mean of their probabilities", members_.size()));
    for (std::size_t i = 0; i < files_.size(); ++i)
      lines.push_back(fmt::format(
          "  {}  temperature {:.4g}{}", files_[i].string(), members_[i]->temperature(),
          binary() ? fmt::format(", threshold {:.4g}", members_[i]->threshold()) : std::string()));
  }
  std::int64_t images = 0, known = 0;
  for (const auto& member : members_)
    if (const auto& learnt = member->input().temperature) {
      images += learnt->images;
      ++known;
    }
  const auto all = static_cast<std::int64_t>(members_.size());
  if (temperature_ == "checkpoint" && known > 0)
    lines.push_back(
        members_.size() == 1
            ? fmt::format("probabilities calibrated: logits divided by {:.4g}, learnt on {} "
                          "validation images (--temperature off: as they are)",
                          members_.front()->temperature(), images)
            : fmt::format(
                  "probabilities calibrated: logits divided by each network's "
                  "temperature{} (--temperature off: as they are)",
                  known < all ? fmt::format("; {} of {} have one", known, all) : std::string()));
  else if (temperature_ == "off" && known > 0)
    lines.push_back("probabilities as the network gives them, not calibrated (--temperature off)");
  else if (temperature_ != "off" && temperature_ != "checkpoint")
    lines.push_back(
        fmt::format("logits divided by {:.4g} (--temperature)", members_.front()->temperature()));
  if (members_.front()->flips())
    lines.push_back("each image and its mirror image: P is the mean (--tta flip)");
  else if (std::any_of(members_.begin(), members_.end(),
                       [](const auto& member) { return member->input().tta == "flip"; }))
    lines.push_back(
        "each image alone; validation, and so the threshold, was of images and their mirror images "
        "(--tta flip)");
  return lines;
}

std::string Ensemble::threshold_origin() const {
  const std::string calibrated =
      std::any_of(members_.begin(), members_.end(),
                  [](const auto& member) { return member->temperature() != 1; })
          ? ", moved with the calibration"
          : "";
  const auto& own = input().threshold;
  if (members_.size() == 1) {
    if (!own) return "the checkpoint has no threshold of its own" + calibrated;
    return fmt::format(
        "the checkpoint's: Youden's point of its {} validation images, sensitivity {:.3f}, "
        "specificity {:.3f} there{}",
        own->images, own->sensitivity, own->specificity, calibrated);
  }
  const auto known = std::count_if(members_.begin(), members_.end(), [](const auto& member) {
    return member->input().threshold.has_value();
  });
  return fmt::format("the mean of the members' thresholds{}{}",
                     known < static_cast<std::ptrdiff_t>(members_.size())
                         ? fmt::format(", 0.5 for the {} that have none",
                                       members_.size() - static_cast<std::size_t>(known))
                         : std::string(),
                     calibrated);
}

std::vector<double> thresholds_of(const Ensemble& classifier, std::optional<double> stated) {
  std::vector<double> thresholds(classifier.classes().size(), stated.value_or(0));
  if (stated) return thresholds;
  for (std::size_t f = 0; f < thresholds.size(); ++f) {
    for (const auto& member : classifier.members()) {
      const auto& own = member->input().thresholds;
      thresholds[f] += f < own.size() && own[f] ? own[f]->threshold : 0.5;
    }
    thresholds[f] /= static_cast<double>(classifier.members().size());
  }
  return thresholds;
}

std::string findings_verdict(const Ensemble& classifier, std::span<const double> probabilities,
                             std::span<const double> thresholds) {
  std::vector<std::string> present;
  for (std::size_t f = 0; f < probabilities.size(); ++f)
    if (probabilities[f] >= thresholds[f]) present.push_back(classifier.classes()[f]);
  return present.empty() ? "none" : fmt::format("{}", fmt::join(present, ", "));
}

}  // namespace thorax
