#include "apps/ensemble.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "apps/fold_files.h"
#include "apps/intensity.h"
#include "engine/io/config.h"

namespace thorax::app {
namespace {

namespace fs = std::filesystem;

// The number of "fold_7"; -1 for another name.
int fold_number(const fs::path& folder) {
  const std::string name = folder.filename().string();
  constexpr std::string_view kPrefix = "fold_";
  int number = -1;
  if (!name.starts_with(kPrefix)) return -1;
  const char *first = name.data() + kPrefix.size(), *last = name.data() + name.size();
  const auto [end, error] = std::from_chars(first, last, number);
  return error == std::errc() && end == last ? number : -1;
}

std::vector<fs::path> networks_of(const fs::path& run) {
  std::set<int> numbers;
  for (const fs::directory_entry& entry : fs::directory_iterator(run))
    if (const int number = fold_number(entry.path()); number >= 0 && entry.is_directory())
      numbers.insert(number);
  if (numbers.empty()) {
    THORAX_CHECK(fs::exists(run / "last.safetensors") || fs::exists(run / "model.safetensors"),
                 "[ensemble] {}: holds neither folds nor last.safetensors: give the folder of a "
                 "train or kfold run, of a row of compare (RUN/rows/NAME), or a checkpoint",
                 run.string());
    return {fold_model(run)};
  }
  // Which folds there must be stands in the run's splits; folds of one row share those of the run.
  int wanted = *numbers.rbegin() + 1;
  for (const fs::path& folder : {run, run.parent_path().parent_path()})
    if (fs::exists(folder / "splits.json")) {
      const nlohmann::json splits = load_json(folder / "splits.json");
      if (splits.contains("folds") && splits["folds"].is_array())
        wanted = static_cast<int>(splits["folds"].size());
      break;
    }
  std::vector<fs::path> files;
  for (int k = 0; k < wanted; ++k) {
    const fs::path folder = run / fmt::format("fold_{}", k);
    THORAX_CHECK(fold_finished(folder),
                 "[ensemble] {}: of its {} folds, fold_{} is not finished: finish the run with "
                 "--resume, or name the checkpoints that are meant",
                 run.string(), wanted, k);
    files.push_back(fold_model(folder));
  }
  return files;
}

double chosen_temperature(const std::string& given, const ModelInput& input) {
  if (given == "off") return 1;
  if (given == "checkpoint") return input.temperature ? input.temperature->temperature : 1;
  return std::stod(given);  // checked as the option was read
}

}  // namespace

std::vector<fs::path> classifier_files(const std::vector<std::string>& given) {
  std::vector<fs::path> files;
  for (const std::string& name : given) {
    const std::vector<fs::path> more =
        fs::is_directory(name) ? networks_of(name) : std::vector<fs::path>{name};
    files.insert(files.end(), more.begin(), more.end());
  }
  std::set<fs::path> seen;
  for (const fs::path& file : files) {
    std::error_code error;
    THORAX_CHECK(seen.insert(fs::weakly_canonical(file, error)).second,
                 "[ensemble] {}: is named twice, and would count twice in the mean", file.string());
  }
  return files;
}

Ensemble::Ensemble(const ClassifierOptions& options, const Compute& compute)
    : files_(classifier_files(options.files)), temperature_(options.temperature) {
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
    member.set_intensity(
        chosen_intensity(options.intensity, member.input().intensity, file.string()));
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
    member.set_flips(options.tta == "flip");
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

}  // namespace thorax::app
