// `thorax kfold segmenter|classifier`: cross-validation, the study's way of judging.
#include <fmt/format.h>

#include <memory>
#include <numeric>

#include "apps/run.h"
#include "apps/settings.h"
#include "apps/training.h"
#include "engine/io/config.h"
#include "engine/train/splits.h"

namespace thorax::app {
namespace {

namespace fs = std::filesystem;

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

void run(Task task, const SettingsOptions& options) {
  const Device device = apply(options.compute);
  const TrainSettings settings = options.settings();
  const Compute compute{device, parse_precision(settings.precision, device)};
  const Run run = open_run(settings, options, "kfold", compute);
  const Splits splits = run_splits(run, [&](const std::vector<SplitItem>& items) {
    return k_fold(items, static_cast<int>(settings.folds),
                  static_cast<std::uint64_t>(settings.seed), grouping(settings));
  });
  fmt::print("{}\n", describe_splits(splits, run.items));
  std::vector<FoldResult> results;
  for (std::size_t k = 0; k < splits.folds.size(); ++k) {
    const fs::path folder = run.folder / fmt::format("fold_{}", k);
    results.push_back(
        train_fold(settings, run.dataset.classes, select(run.dataset, splits.folds[k].train),
                   select(run.dataset, splits.folds[k].validation), folder,
                   fmt::format("fold {}/{}", k + 1, splits.folds.size()), options.resume, compute));
    if (!results.back().finished) {
      fmt::print("stopped in fold {}; continue with --resume\n", k);
      set_exit_code(3);
      return;
    }
  }
  fs::create_directories(run.folder / "crossval");
  task == Task::classifier ? report_classifier(run, results) : report_segmenter(run, results);
  fmt::print("{}\n", (run.folder / "crossval" / "summary.json").string());
}

void add(CLI::App& root) {
  CLI::App* kfold = root.add_subcommand("kfold", "Cross-validate a network");
  kfold->require_subcommand(1);
  for (const Task task : {Task::classifier, Task::segmenter}) {
    CLI::App* command = kfold->add_subcommand(
        name_of(task), task == Task::segmenter
                           ? "UNet: Dice and IoU by fold"
                           : "HRNet: accuracy, sensitivity, specificity, F1, AUC by fold");
    auto* options = new SettingsOptions(*command, task, true);
    command->footer(fmt::format(
        "Example:\n  thorax kfold {} --data {} --folds 3 --epochs 3 --out runs/kfold",
        name_of(task), task == Task::segmenter ? "shenzhen:DIR" : "covid:DIR --data nih:DIR2"));
    command->callback([task, options] { run(task, *options); });
  }
}

}  // namespace
THORAX_COMMAND(30, add)
}  // namespace thorax::app
