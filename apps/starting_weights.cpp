#include "apps/starting_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "apps/console.h"
#include "apps/inference/model_file.h"
#include "apps/report/text.h"
#include "models/weights.h"

namespace thorax::app {
namespace {

// What was not taken over as it is: a run must not silently start from half of its weights.
void describe(const WeightReport& report, const std::string& file) {
  const auto line = [&](const char* what, const std::vector<std::string>& names) {
    constexpr std::size_t kShown = 6;
    if (names.empty()) return;
    const std::vector<std::string> shown(names.begin(),
                                         names.begin() + std::min(names.size(), kShown));
    fmt::print("[weights] {}: {} {}: {}{}\n", file, names.size(), what,
               clean_text(fmt::format("{}", fmt::join(shown, ", "))),
               names.size() > kShown ? ", ..." : "");
  };
  for (const std::string& note : report.notes)
    fmt::print("[weights] {}: {}\n", clean_text(file), clean_text(note));
  if (!report.prefix.empty())
    fmt::print("[weights] {}: names are read without their prefix '{}'\n", clean_text(file),
               clean_text(report.prefix));
  line("renamed from an older version", [&] {
    std::vector<std::string> names;
    for (const auto& [before, now] : report.renamed) names.push_back(before);
    return names;
  }());
  line("adapted", report.adapted);
  line("of its head left out", report.left_out);
  if (!report.left_out.empty())
    fmt::print("[weights] {}: its head is left out, because {}\n", clean_text(file),
               clean_text(report.head_reason));
  const auto in_file = [&](const std::string& name) {
    return std::find(report.left_out.begin(), report.left_out.end(), name) != report.left_out.end();
  };
  std::vector<std::string> missing = report.missing;
  // Old files have no counters of batches; nothing is computed from them.
  std::erase_if(missing, [&](const std::string& name) {
    return name.ends_with(".num_batches_tracked") || in_file(name);
  });
  line("not in the file, left as initialised", missing);
  missing = report.missing;
  std::erase_if(missing, [&](const std::string& name) { return !in_file(name); });
  line("of the head left as initialised", missing);
}

// In what the networks of the file and of this run are shown images differently.
void compare_inputs(const ModelInput& theirs, const TrainSettings& s) {
  const auto line = [&](const char* what, const std::string& before, const std::string& now) {
    if (before != now)
      fmt::print("[weights] {}: was trained with {} {}, this run has {}\n", clean_text(s.weights),
                 what, before, now);
  };
  line("images of a side of", std::to_string(theirs.size), std::to_string(s.size));
  if (s.task == Task::classifier) line("the view", name_of(theirs.view), name_of(s.seen()));
  line("the intensity", name_of(theirs.intensity), s.intensity);
}

}  // namespace

void start_from(const TrainSettings& s, const std::vector<std::string>& classes, bool multilabel,
                const OrganOutputs& organs, const Model& model) {
  WeightFile file = read_weight_file(s.weights);
  if (!file.pytorch) print_notes(unverified_notes(file.metadata, s.weights));
  bool same_task = false;
  if (file.metadata.contains(kInputKey)) {
    const ModelInput input = read_model_input(file.metadata, s.weights);
    same_task =
        input.task == name_of(s.task) &&
        (s.task == Task::segmenter
             ? input.organs.organs == organs.organs && input.organs.softmax == organs.softmax
             : input.classes == classes && input.multilabel == multilabel);
    compare_inputs(input, s);
  }
  const WeightReport report = load_model_weights(
      model, std::move(file), s.weights, same_task ? WeightUse::adapt : WeightUse::pretrain);
  const std::size_t all = model.state_dict().size();
  fmt::print("[weights] {}: {} of the network's {} tensors are taken from it\n",
             clean_text(s.weights), all - report.missing.size(), all);
  describe(report, s.weights);
  if (same_task && report.left_out.empty())
    fmt::print("[weights] {}: of the same task and classes: its head is taken over, too\n",
               clean_text(s.weights));
}

}  // namespace thorax::app
