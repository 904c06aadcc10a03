#include "apps/kfold_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "apps/evaluation.h"
#include "apps/fold_overlays.h"
#include "apps/heat_figures.h"
#include "apps/multiclass_report.h"
#include "apps/multilabel_report.h"
#include "apps/report/claim.h"
#include "apps/report/training_curves.h"
#include "apps/temperature_report.h"
#include "engine/io/atomic_file.h"
#include "engine/io/config.h"

namespace thorax::app {
namespace fs = std::filesystem;

void add_training(Report& report, const fs::path& run, const fs::path& out) {
  report.section("Training");
  std::vector<Figure> figures;
  const std::vector<Plot> plots = training_plots(read_training_logs(run), "");
  for (std::size_t i = 0; i < plots.size(); ++i)
    figures.push_back(saved_figure(out, fmt::format("training_{}", i), plots[i]));
  report.paragraph("Means over the folds by epoch; bands are one standard deviation to each side.");
  report.figures(figures);
}

void add_heatmaps(Report& report, const Experiment& e, std::int64_t heatmaps, const fs::path& out,
                  const Compute& compute) {
  if (heatmaps == 0) return;
  const HeatFigures heat = heat_figures(e, e.rows[0], heatmaps, out / "heatmaps", compute);
  report.section("Where the network looks");
  if (!heat.table.rows.empty()) report.table(saved_table(out, "heatmaps", heat.table));
  add_heatmap_pictures(report, heat, 12);
}

namespace {

void report_classifier(const Experiment& e, const std::vector<FoldResult>& folds,
                       std::int64_t heatmaps, const Compute& compute) {
  const ExperimentRow& row = e.rows[0];
  const fs::path out = e.run.folder / "crossval";
  const std::string& positive = e.run.dataset.classes[1];
  const std::string& negative = e.run.dataset.classes[0];
  const ClassifierEvaluation evaluation =
      evaluate_folds(folds, static_cast<std::uint64_t>(row.settings.seed), e.run.dataset.classes);
  nlohmann::json summary = to_json(evaluation);
  save_json(out / "summary.json", summary);

  Report report(
      fmt::format("Cross-validation: {} on {}", row.settings.model.at("model").get<std::string>(),
                  name_of(row.settings.seen())),
      fmt::format("{} images of {} patients, {} folds; positive class {}, negative {}",
                  evaluation.image_count, evaluation.patient_count, folds.size(), positive,
                  negative));
  report.section("Results");
  note_views(report, row.settings);
  report.table(saved_table(out, "folds", fold_figures_table(evaluation)));
  const Interval auc = image_figure(evaluation, "auc");
  if (auc.value > 0.97)
    report.warning(
        "A cross-validated area near 1 on images that come from different hospitals is a reason "
        "for "
        "suspicion: thorax audit shows what the network may have learned instead of the disease.");
  const auto confusion = [&](const std::string& name, const std::string& title,
                             const BinaryCounts& counts) {
    fmt::print("\n{}\n{}", title, confusion_table(counts, positive, negative));
    return saved_figure(out, name, confusion_plot(title, counts, positive, negative));
  };
  BinaryCounts all;
  for (const BinaryReport& fold : evaluation.folds) all += fold.counts;
  report.subsection("Confusion matrices");
  std::vector<double> accuracies;
  for (const BinaryReport& fold : evaluation.folds)
    accuracies.push_back(fold.counts.balanced_accuracy());
  const ExtremeFolds extremes = worst_and_best(accuracies);
  std::vector<Figure> matrices;
  if (extremes.worst.empty()) {
    report.paragraph("No fold is worse than another: their balanced accuracy is the same.");
  } else {
    matrices.push_back(confusion("confusion_worst", extreme_title("Worst", extremes.worst),
                                 evaluation.folds[extremes.worst[0]].counts));
    matrices.push_back(confusion("confusion_best", extreme_title("Best", extremes.best),
                                 evaluation.folds[extremes.best[0]].counts));
  }
  matrices.push_back(confusion("confusion", "All folds", all));
  report.figures(matrices);
  report.subsection("Thresholds");
  report.table(saved_table(out, "thresholds", threshold_table(evaluation, folds)));
  report.subsection("Temperature");
  report.table(saved_table(out, "temperature", temperature_table(folds)));
  report.subsection("Curves");
  const ScoredSet pooled = pooled_set("all folds", folds);
  report.figures({saved_figure(out, "roc", roc_plot("ROC by fold", fold_sets(folds), true)),
                  saved_figure(out, "precision_recall",
                               precision_recall_plot("Precision and recall", {pooled})),
                  saved_figure(out, "reliability", reliability_plot("Reliability", pooled))});
  report.subsection("Pooled figures with intervals");
  report.table(saved_table(out, "pooled", short_figures_table(evaluation)));
  report.begin_details("Every figure, and how its interval was made");
  report.table(saved_table(out, "figures", pooled_figures_table(evaluation), Print::no));
  report.end_details();
  add_training(report, e.run.folder, out);
  add_heatmaps(report, e, heatmaps, out, compute);
  report.section("Checklist");
  report.table(saved_table(out, "claim", claim_table(read_run_facts(e.run.folder)), Print::no));
  add_provenance(report, e.run.folder);
  report.write(e.run.folder / "report.html");
}

void report_segmenter(const Experiment& e, const std::vector<FoldResult>& folds,
                      const Compute& compute) {
  const fs::path out = e.run.folder / "crossval";
  Table table{"Held-out images, by fold",
              {{"fold", CellKind::text},
               {"images", CellKind::integer},
               {"with distance", CellKind::integer},
               {"missed", CellKind::integer},
               {"Dice", CellKind::number, 4},
               {"IoU", CellKind::number, 4},
               {"Hausdorff 95 % (pixels)", CellKind::number, 2},
               {"loss", CellKind::number, 4}},
              {}};
  std::vector<std::vector<double>> columns(4);
  for (std::size_t k = 0; k < folds.size(); ++k) {
    const SegmenterReport r = segmenter_report(folds[k].scored);
    const std::vector<double> values{r.dice, r.iou, r.hausdorff95, folds[k].loss};
    for (std::size_t m = 0; m < values.size(); ++m) columns[m].push_back(values[m]);
    table.rows.push_back({std::to_string(k + 1), r.images, r.measured, r.missed, r.dice, r.iou,
                          r.hausdorff95, folds[k].loss});
  }
  add_fold_means(table, columns);
  table.notes = {
      "The distance is a mean over the images \"with distance\", in which both the network and the "
      "truth have an "
      "outline. An image where only one of them has is missed: its Dice and IoU are 0."};
  const std::vector<std::string>& organs = folds.front().organs;
  nlohmann::json summary = to_json(table);
  if (!organs.empty()) {
    table.notes = {
        "Dice, IoU and distance are means over the organs, each of which counts alike; the columns "
        "\"with distance\" and \"missed\" count organs of images."};
    summary = to_json(table);
    summary["organs"] = to_json(organ_table(folds));
  }
  save_json(out / "summary.json", summary);
  Report report("Cross-validation: segmentation of " +
                    (organs.empty() ? "lungs" : fmt::format("{}", fmt::join(organs, ", "))),
                fmt::format("{} folds", folds.size()));
  report.section("Results");
  report.table(saved_table(out, "folds", table));
  if (!organs.empty()) {
    report.subsection("By organ");
    report.table(saved_table(out, "organs", organ_table(folds)));
    report.figures({saved_figure(out, "organs", organ_chart(folds))});
  }
  add_training(report, e.run.folder, out);
  report.section("Worst and best");
  report.paragraph(
      organs.empty()
          ? "Held-out images with the lowest and the highest Dice: the network's mask in blue, the "
            "truth outlined in orange."
          : "Held-out images with the lowest and the highest mean Dice: the network's organs in "
            "their colours, the truth outlined in white.");
  report.images(fold_overlays(e, folds, 4, out / "overlays", compute), 240);
  add_provenance(report, e.run.folder);
  report.write(e.run.folder / "report.html");
}

}  // namespace

void report_kfold(const Experiment& e, std::int64_t heatmaps, const Compute& compute) {
  const std::vector<FoldResult> folds = load_results(e, e.rows[0]);
  create_folders(e.run.folder / "crossval");
  if (e.rows[0].settings.task == Task::segmenter)
    report_segmenter(e, folds, compute);
  else if (e.run.dataset.multilabel)
    report_multilabel(e, folds, heatmaps, compute);
  else if (e.run.dataset.classes.size() > 2)
    report_multiclass(e, folds, heatmaps, compute);
  else
    report_classifier(e, folds, heatmaps, compute);
  fmt::print("\n{}\n{}\n", (e.run.folder / "crossval" / "summary.json").string(),
             (e.run.folder / "report.html").string());
}

}  // namespace thorax::app
