// `thorax kfold segmenter|classifier`: cross-validation, the study's way of judging.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <memory>

#include "apps/dry_run.h"
#include "apps/evaluation.h"
#include "apps/experiment.h"
#include "apps/kfold_report.h"
#include "apps/number_checks.h"
#include "apps/settings.h"

namespace thorax::app {
namespace {

struct Options {
  SettingsOptions settings;
  std::vector<int> only = {};
  std::vector<std::string> merge = {};
  std::int64_t heatmaps = 12;
};

void run(Task task, const Options& o) {
  const Device device = apply(o.settings.compute);
  const TrainSettings settings = o.settings.settings();
  const Compute compute = training_compute(device, settings.precision, o.settings.graph);
  const RunRequest request{o.settings.out, o.settings.resume, o.settings.overwrite,
                           fmt::format("kfold {}", name_of(task)), nullptr};
  if (o.settings.dry_run)
    return print_dry_run(settings,
                         {.request = request,
                          .rows = {{"", settings}},
                          .cross_validation = true,
                          .json = o.settings.json},
                         compute);
  announce_missing_figures();
  const Experiment experiment = open_experiment(settings, {{"", settings}}, request, compute);
  fmt::print("{}\n", describe_folds(experiment, experiment.splits(experiment.rows[0])));
  std::vector<FoldChoice> choices;
  for (const int fold : o.only) {
    THORAX_CHECK(fold >= 0 && fold < settings.folds, "[kfold] --only {}: the fold must be 0 to {}",
                 fold, settings.folds - 1);
    choices.push_back({"", fold});
  }
  if (complete_experiment(experiment, o.merge, choices, /*keep_checkpoints=*/true, compute))
    report_kfold(experiment, o.heatmaps, compute);
}

void add(CLI::App& root) {
  CLI::App* kfold = root.add_subcommand("kfold", "Cross-validate a network");
  kfold->require_subcommand(1);
  for (const Task task : {Task::classifier, Task::segmenter}) {
    CLI::App* command = kfold->add_subcommand(
        name_of(task), task == Task::segmenter ? "UNet: Dice and IoU by fold"
                                               : "Classes told apart, or several findings an "
                                                 "image: accuracy, sensitivity, specificity, F1, "
                                                 "AUC by fold");
    auto* options = new Options{{*command, task, SettingsFor::kfold}};
    command->add_option("--only", options->only,
                        "Train only these folds (from 0); other processes or machines do the rest");
    command->add_option("--merge", options->merge,
                        "Take finished folds from these folders of the same run");
    if (task == Task::classifier)
      command
          ->add_option("--heatmaps", options->heatmaps,
                       "Held-out images per fold whose heatmaps are made; 0 = none")
          ->capture_default_str()
          ->check(kCount);
    command->footer(fmt::format(
        "Example:\n  thorax kfold {} --data {} --folds 3 --epochs 3 --out runs/kfold",
        name_of(task), task == Task::segmenter ? "shenzhen:DIR" : "covid:DIR --data nih:DIR2"));
    command->callback([task, options] { run(task, *options); });
  }
}

}  // namespace
THORAX_COMMAND(30, add)
}  // namespace thorax::app
