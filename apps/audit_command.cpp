// `thorax audit`: is a cross-validated figure about the disease, or about where images come from?
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "apps/audit_report.h"
#include "apps/dry_run.h"
#include "apps/evaluation.h"
#include "apps/experiment.h"
#include "apps/number_checks.h"

namespace thorax::app {
namespace {

struct Options {
  SettingsOptions settings;
  std::string model = "hrnet_w18";
  std::vector<std::string> only = {}, merge = {}, external = {};
  bool keep_checkpoints = false;
  std::int64_t heatmaps = 60;
};

// The headline, the controls, in the order of the report.
std::vector<ExperimentRow> rows_of(const TrainSettings& shared, const std::string& model) {
  std::vector<ExperimentRow> rows;
  const auto add = [&](const char* name, View view, const char* group, bool random) {
    ExperimentRow row{name, shared, random};
    row.settings.model["model"] = model;
    row.settings.view = name_of(view);
    row.settings.group = group;
    rows.push_back(std::move(row));
  };
  add("lungs", View::lungs, "patient", false);
  add("whole", View::whole, "patient", false);
  add("no-lungs", View::no_lungs, "patient", false);
  add("no-lungs-filled", View::no_lungs_filled, "patient", false);
  add("border", View::border, "patient", false);
  add("random-labels", View::lungs, "patient", true);
  add("patient-leak", View::lungs, "image", false);
  add("random-labels-leak", View::lungs, "image", true);
  return rows;
}

void run(const Options& o) {
  const Device device = apply(o.settings.compute);
  const TrainSettings shared = o.settings.settings();
  const Compute compute = training_compute(device, shared.precision, o.settings.graph);
  THORAX_CHECK(!shared.segmenter.empty(),
               "[audit] give --segmenter: without lungs there is nothing to remove");
  const std::vector<ExperimentRow> rows = rows_of(shared, o.model);
  for (const ExperimentRow& row : rows) check_settings(row.settings);
  const std::vector<FoldChoice> choices =
      parse_fold_choices(o.only, rows, static_cast<int>(shared.folds));
  const RunRequest request{o.settings.out, o.settings.resume, o.settings.overwrite, "audit", {}};
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
  fmt::print("{}\n", describe_folds(experiment, experiment.by_patient));
  if (complete_experiment(experiment, o.merge, choices, o.keep_checkpoints, compute))
    report_audit(experiment, {o.external, o.heatmaps}, compute);
}

void add(CLI::App& root) {
  CLI::App* c = root.add_subcommand(
      "audit", "What a figure is worth: controls on the same folds, leaks, duplicates, heatmaps");
  auto* o = new Options{{*c, Task::classifier, SettingsFor::rows}};
  c->add_option("--model", o->model, "Network")->capture_default_str();
  c->add_option(
      "--external", o->external,
      "Images of another source, kind:PATH[,key=value]: judged by the networks trained here");
  c->add_option("--heatmaps", o->heatmaps, "Images per fold whose heatmaps are measured; 0 = none")
      ->capture_default_str()
      ->check(kCount);
  c->add_option("--only", o->only, "Train only this row, or fold of it (ROW or ROW/FOLD)");
  c->add_option("--merge", o->merge, "Take finished folds from these folders of the same audit");
  c->add_flag("--keep-checkpoints", o->keep_checkpoints,
              "Keep each fold's whole checkpoints, not only its weights");
  c->footer(
      "Example:\n  thorax audit --data covid:DIR --data nih:DIR2 --segmenter "
      "runs/lungs/last.safetensors --size 64 --folds 3 --epochs 6 --out runs/audit");
  c->callback([o] { run(*o); });
}

}  // namespace
THORAX_COMMAND(34, add)
}  // namespace thorax::app
