// `thorax compare`: several networks on several views of the same folds, the study's Table 7.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "apps/compare_report.h"
#include "apps/dry_run.h"
#include "apps/evaluation.h"
#include "apps/experiment.h"
#include "apps/number_checks.h"

namespace thorax::app {
namespace {

struct Options {
  SettingsOptions settings;
  std::vector<std::string> models = {"resnet152", "densenet121", "hrnet_w18"};
  std::vector<std::string> views = {"whole", "lungs"};
  std::vector<std::string> only = {}, merge = {};
  std::int64_t heatmaps = 8;
  bool keep_checkpoints = false;
};

std::vector<ExperimentRow> rows_of(const TrainSettings& shared, const Options& o) {
  std::vector<ExperimentRow> rows;
  for (const std::string& view : o.views)
    for (const std::string& model : o.models) {
      ExperimentRow row{model + "-" + view, shared, false};
      row.settings.model["model"] = model;
      row.settings.view = view;
      rows.push_back(std::move(row));
    }
  return rows;
}

void run(const Options& o) {
  const Device device = apply(o.settings.compute);
  const TrainSettings shared = o.settings.settings();
  const Compute compute = training_compute(device, shared.precision, o.settings.graph);
  const std::vector<ExperimentRow> rows = rows_of(shared, o);
  for (const ExperimentRow& row : rows) check_settings(row.settings);
  const std::vector<FoldChoice> choices =
      parse_fold_choices(o.only, rows, static_cast<int>(shared.folds));
  const RunRequest request{o.settings.out, o.settings.resume, o.settings.overwrite, "compare", {}};
  if (o.settings.dry_run)
    return print_dry_run(shared,
                         {.request = request,
                          .rows = rows,
                          .cross_validation = true,
                          .keep_checkpoints = o.keep_checkpoints,
                          .json = o.settings.json},
                         compute);
  announce_missing_figures();
  const Experiment experiment = open_experiment(shared, rows, request, compute);
  fmt::print("{}\n", describe_folds(experiment, experiment.by_patient.folds.empty()
                                                    ? experiment.by_image
                                                    : experiment.by_patient));
  if (complete_experiment(experiment, o.merge, choices, o.keep_checkpoints, compute))
    report_comparison(experiment, o.heatmaps, compute);
}

void add(CLI::App& root) {
  CLI::App* c = root.add_subcommand(
      "compare", "Several networks, on whole images and on lungs, judged on the same folds");
  auto* o = new Options{{*c, Task::classifier, SettingsFor::rows}};
  c->add_option("--models", o->models, "Networks")->delimiter(',')->capture_default_str();
  c->add_option("--views", o->views, "What they are shown: whole, lungs, no-lungs, ...")
      ->delimiter(',')
      ->capture_default_str()
      ->check(CLI::IsMember(view_names()));
  c->add_option("--only", o->only,
                "Train only this row, or fold of it (MODEL-VIEW or MODEL-VIEW/FOLD, fold from 0); "
                "other processes with the same --out, or other machines, do the rest");
  c->add_option("--merge", o->merge,
                "Take finished folds from these folders of the same comparison");
  c->add_option("--heatmaps", o->heatmaps,
                "Held-out images per row and fold whose heatmaps are measured; 0 = none")
      ->capture_default_str()
      ->check(kCount);
  c->add_flag("--keep-checkpoints", o->keep_checkpoints,
              "Keep each fold's whole checkpoints, not only its weights");
  c->footer(
      "Example:\n  thorax compare --data covid:DIR --data nih:DIR2 --segmenter "
      "runs/lungs/last.safetensors --size 64 --folds 3 --epochs 6 --out runs/compare\n"
      "On two machines:\n  ... --only resnet152-whole --out a     ... --only hrnet_w18-lungs --out "
      "b"
      "\n  ... --merge b --resume --out a");
  c->callback([o] { run(*o); });
}

}  // namespace
THORAX_COMMAND(32, add)
}  // namespace thorax::app
