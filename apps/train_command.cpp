// `thorax train segmenter|classifier`: one split, one network.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <memory>

#include "apps/dry_run.h"
#include "apps/multiclass_report.h"
#include "apps/multilabel_report.h"
#include "apps/run.h"
#include "apps/settings.h"
#include "apps/temperature_report.h"
#include "apps/training.h"
#include "engine/train/label_stratification.h"
#include "engine/train/splits.h"

namespace thorax::app {
namespace {

void run(Task task, const SettingsOptions& options) {
  const Device device = apply(options.compute);
  const TrainSettings settings = options.settings();
  const Compute compute = training_compute(device, settings.precision, options.graph);
  const RunRequest request{options.out, options.resume, options.overwrite,
                           fmt::format("train {}", name_of(task)), nullptr};
  if (options.dry_run)
    return print_dry_run(
        settings, {.request = request, .rows = {{"", settings}}, .json = options.json}, compute);
  const Run run = open_run(settings, request, compute);
  const Splits splits = run_splits(run, "splits.json", [&](const std::vector<SplitItem>& items) {
    return hold_out(items, settings.validation_share, static_cast<std::uint64_t>(settings.seed),
                    grouping(settings));
  });
  fmt::print("{}{}\n", describe_splits(splits, run.items),
             run.dataset.multilabel && task == Task::classifier
                 ? lacking_labels(splits, run.items, run.dataset.classes)
                 : "");
  const FoldResult result =
      train_fold(settings, run.dataset.classes, select(run.dataset, splits.folds[0].train),
                 select(run.dataset, splits.folds[0].validation), run.folder,
                 {.title = "train",
                  .resume = options.resume,
                  .begun = [&run] { run.home->begin(); },
                  .left_out = left_out_counts(run.dataset)},
                 compute);
  run.home->begin();
  if (!result.finished) {
    fmt::print("stopped; continue with --resume\n");
    set_exit_code(3);
    return;
  }
  if (result.seconds > 0) run.history->note("fold_seconds", "train", result.seconds);
  if (task == Task::segmenter && !result.organs.empty()) {
    fmt::print("validation, {} images, loss {:.4f}\n{}", result.scored.size(), result.loss,
               to_text(organ_table({result})));
  } else if (task == Task::segmenter) {
    const SegmenterReport report = segmenter_report(result.scored);
    fmt::print("validation, {} images: Dice {:.4f}  IoU {:.4f}  Hausdorff 95 % {}  loss {:.4f}\n",
               result.scored.size(), report.dice, report.iou, hausdorff_text(report), result.loss);
  } else if (run.dataset.multilabel) {
    print_multilabel(result.scored, run.dataset.classes);
  } else if (run.dataset.classes.size() > 2) {
    print_multiclass(multiclass_report(result.scored, run.dataset.classes.size()),
                     run.dataset.classes);
  } else {
    const BinaryReport report = classifier_report(result.scored);
    fmt::print("positive class: {}\n{}\n{}\n", run.dataset.positive,
               fold_table(std::span(&report, 1)),
               confusion_table(report.counts, run.dataset.classes[1], run.dataset.classes[0]));
  }
  if (task == Task::classifier && !result.multilabel)
    fmt::print("{}\n", temperature_line(result.temperature));
  fmt::print("checkpoint: {}\n", (run.folder / "last.safetensors").string());
}

void add(CLI::App& root) {
  CLI::App* train = root.add_subcommand("train", "Train one network on one split");
  train->require_subcommand(1);
  for (const Task task : {Task::segmenter, Task::classifier}) {
    CLI::App* command = train->add_subcommand(
        name_of(task), task == Task::segmenter ? "UNet: lungs, or several organs, from radiographs"
                                               : "Classes of radiographs told apart, or several "
                                                 "findings an image");
    // Lives as long as the program: CLI11 keeps references into it.
    auto* options = new SettingsOptions(*command, task, SettingsFor::train);
    command->footer(
        task == Task::segmenter
            ? "Example:\n  thorax train segmenter --data covid:DIR,masks=DIR2 --data shenzhen:DIR3 "
              "--size 256 --epochs 15 --out runs/lungs"
            : "Example:\n  thorax train classifier --data covid:DIR --data nih:DIR2 --segmenter "
              "runs/lungs/last.safetensors --out runs/covid");
    command->callback([task, options] { run(task, *options); });
  }
}

}  // namespace
THORAX_COMMAND(20, add)
}  // namespace thorax::app
