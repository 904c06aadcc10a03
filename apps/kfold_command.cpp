// `thorax kfold segmenter|classifier`: cross-validation, the study's way of judging.
#include <fmt/format.h>

#include <memory>
#include <numeric>

#include "apps/experiment.h"
#include "apps/settings.h"
#include "apps/training.h"
#include "engine/io/config.h"
#include "engine/train/splits.h"

namespace thorax::app {
namespace {

namespace fs = std::filesystem;

struct Options {
  SettingsOptions settings;
  std::vector<int> only;
  std::vector<std::string> merge;
};

void report_classifier(const Run& run, const std::vector<FoldResult>& folds) {
  std::vector<BinaryReport> reports;
  BinaryCounts all;
  std::vector<Scored> pooled;
  for (const FoldResult& fold : folds) {
    reports.push_back(classifier_report(fold.scored));
    all += reports.back().counts;
    pooled.insert(pooled.end(), fold.scored.begin(), fold.scored.end());
  }
  fmt::print("\n{}\n", fold_table(reports));
  const std::string& positive = run.dataset.classes[1];
  const std::string& negative = run.dataset.classes[0];
  for (std::size_t k = 0; k < reports.size(); ++k)
    fmt::print("fold {}\n{}\n", k, confusion_table(reports[k].counts, positive, negative));
  fmt::print("all folds\n{}\n", confusion_table(all, positive, negative));
  nlohmann::json summary = fold_summary(reports);
  summary["pooled"] = to_json(classifier_report(pooled));
  save_json(run.folder / "crossval" / "summary.json", summary);
}

void report_segmenter(const Run& run, const std::vector<FoldResult>& folds) {
  std::vector<double> dice, iou;
  fmt::print("\nfold  images    Dice     IoU    loss\n");
  nlohmann::json rows = nlohmann::json::array();
  for (std::size_t k = 0; k < folds.size(); ++k) {
    const auto [d, i] = segmenter_report(folds[k].scored);
    dice.push_back(d);
    iou.push_back(i);
    fmt::print("{:4}  {:6}  {:.4f}  {:.4f}  {:.4f}\n", k, folds[k].scored.size(), d, i,
               folds[k].loss);
    rows.push_back({{"fold", k}, {"dice", d}, {"iou", i}, {"loss", folds[k].loss}});
  }
  const MeanDeviation d = spread(dice), i = spread(iou);
  fmt::print("mean          {:.4f}  {:.4f}\nsd            {:.4f}  {:.4f}\n", d.mean, i.mean,
             d.deviation, i.deviation);
  save_json(
      run.folder / "crossval" / "summary.json",
      {{"folds", rows}, {"dice_mean", d.mean}, {"dice_sd", d.deviation}, {"iou_mean", i.mean}});
}

void run(Task task, const Options& o) {
  const Device device = apply(o.settings.compute);
  const TrainSettings settings = o.settings.settings();
  const Compute compute{device, parse_precision(settings.precision, device)};
  const Experiment experiment =
      open_experiment(settings, {{"", settings}},
                      {o.settings.out, o.settings.resume, o.settings.overwrite,
                       fmt::format("kfold {}", name_of(task)), nullptr},
                      compute);
  const Splits& splits = experiment.splits(experiment.rows[0]);
  fmt::print("{}\n", describe_splits(splits, experiment.run.items));
  if (!o.merge.empty())
    fmt::print("{} folds taken over\n",
               merge_experiment(experiment, {o.merge.begin(), o.merge.end()}));
  std::vector<FoldChoice> choices;
  for (const int fold : o.only) {
    THORAX_CHECK(fold >= 0 && fold < settings.folds, "[kfold] --only {}: the fold must be 0 to {}",
                 fold, settings.folds - 1);
    choices.push_back({"", fold});
  }
  if (!run_experiment(experiment, choices, /*keep_checkpoints=*/true, compute)) {
    fmt::print("stopped; continue with --resume\n");
    set_exit_code(3);
    return;
  }
  if (!experiment.finished()) {
    fmt::print("some folds are left; --resume goes on, --merge takes them from other folders\n");
    return;
  }
  const std::vector<FoldResult> results = load_results(experiment, experiment.rows[0]);
  fs::create_directories(experiment.run.folder / "crossval");
  task == Task::classifier ? report_classifier(experiment.run, results)
                           : report_segmenter(experiment.run, results);
  fmt::print("{}\n", (experiment.run.folder / "crossval" / "summary.json").string());
}

void add(CLI::App& root) {
  CLI::App* kfold = root.add_subcommand("kfold", "Cross-validate a network");
  kfold->require_subcommand(1);
  for (const Task task : {Task::classifier, Task::segmenter}) {
    CLI::App* command = kfold->add_subcommand(
        name_of(task), task == Task::segmenter
                           ? "UNet: Dice and IoU by fold"
                           : "HRNet: accuracy, sensitivity, specificity, F1, AUC by fold");
    auto* options = new Options{{*command, task, SettingsFor::kfold}, {}, {}};
    command->add_option("--only", options->only,
                        "Train only these folds (from 0); other processes or machines do the rest");
    command->add_option("--merge", options->merge,
                        "Take finished folds from these folders of the same run");
    command->footer(fmt::format(
        "Example:\n  thorax kfold {} --data {} --folds 3 --epochs 3 --out runs/kfold",
        name_of(task), task == Task::segmenter ? "shenzhen:DIR" : "covid:DIR --data nih:DIR2"));
    command->callback([task, options] { run(task, *options); });
  }
}

}  // namespace
THORAX_COMMAND(30, add)
}  // namespace thorax::app
