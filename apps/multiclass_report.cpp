#include "apps/multiclass_report.h"

#include <fmt/format.h>

#include <cmath>

#include "apps/evaluation.h"
#include "apps/multiclass_tables.h"
#include "apps/report/claim.h"
#include "apps/temperature_report.h"
#include "engine/io/config.h"

namespace thorax::app {

namespace fs = std::filesystem;

void print_multiclass(const MulticlassReport& report, const std::vector<std::string>& classes) {
  Table table{"Each class against the rest",
              {{"class", CellKind::text},
               {"images", CellKind::integer},
               {"sensitivity", CellKind::percent},
               {"specificity", CellKind::percent},
               {"PPV", CellKind::percent},
               {"F1", CellKind::percent},
               {"AUC", CellKind::percent}},
              {}};
  for (std::size_t c = 0; c < classes.size(); ++c) {
    const ClassFigures& f = report.classes[c];
    table.rows.push_back({classes[c], f.images, number_cell(f.sensitivity),
                          number_cell(f.specificity), number_cell(f.ppv), number_cell(f.f1),
                          number_cell(f.auc)});
  }
  const auto percent = [](double value) {
    return std::isnan(value) ? std::string("-") : fmt::format("{:.2f} %", 100 * value);
  };
  fmt::print("{}\n{}\naccuracy {}, balanced accuracy {}, macro F1 {}, macro AUC {}\n",
             confusion_table(report.confusion, classes), to_text(table), percent(report.accuracy),
             percent(report.balanced_accuracy), percent(report.macro_f1),
             percent(report.macro_auc));
}

void report_multiclass(const Experiment& e, const std::vector<FoldResult>& folds,
                       std::int64_t heatmaps, const Compute& compute) {
  const ExperimentRow& row = e.rows[0];
  const std::vector<std::string>& classes = e.run.dataset.classes;
  const fs::path out = e.run.folder / "crossval";
  const MulticlassEvaluation evaluation =
      evaluate_multiclass_folds(folds, static_cast<std::uint64_t>(row.settings.seed), classes);
  const MulticlassCalibration calibration = calibration_of(folds, classes.size());
  nlohmann::json summary = to_json(evaluation);
  summary["calibration"] = to_json(calibration, classes);
  save_json(out / "summary.json", summary);

  Report report(
      fmt::format("Cross-validation: {} on {}", row.settings.model.at("model").get<std::string>(),
                  name_of(row.settings.seen())),
      fmt::format("{} images of {} patients, {} folds; classes: {}", evaluation.image_count,
                  evaluation.patient_count, folds.size(), fmt::join(classes, ", ")));
  report.section("Results");
  note_views(report, row.settings);
  report.table(saved_table(out, "folds", multiclass_folds_table(evaluation)));
  report.table(saved_table(out, "classes", multiclass_classes_table(evaluation)));
  report.table(saved_table(out, "pooled", multiclass_overall_table(evaluation)));
  report.subsection("Confusion matrix");
  fmt::print("\nAll folds\n{}", confusion_table(evaluation.all.confusion, classes));
  std::vector<Figure> matrices{saved_figure(
      out, "confusion", confusion_plot("All folds", evaluation.all.confusion, classes))};
  std::vector<double> accuracies;
  for (const MulticlassReport& fold : evaluation.folds)
    accuracies.push_back(fold.balanced_accuracy);
  if (const ExtremeFolds extremes = worst_and_best(accuracies); !extremes.worst.empty()) {
    matrices.push_back(
        saved_figure(out, "confusion_worst",
                     confusion_plot(extreme_title("Worst", extremes.worst),
                                    evaluation.folds[extremes.worst[0]].confusion, classes)));
    matrices.push_back(
        saved_figure(out, "confusion_best",
                     confusion_plot(extreme_title("Best", extremes.best),
                                    evaluation.folds[extremes.best[0]].confusion, classes)));
  }
  report.figures(matrices);
  report.subsection("Temperature");
  report.table(saved_table(out, "temperature", temperature_table(folds)));
  report.subsection("Curves");
  const std::vector<ScoredSet> sets = one_against_rest(folds, classes);
  report.figures(
      {saved_figure(out, "roc", averaged_roc_plot("ROC, each class against the rest", sets)),
       saved_figure(out, "precision_recall",
                    averaged_precision_recall_plot("Precision and recall", sets))});
  report.subsection("Reliability");
  report.table(saved_table(out, "calibration", calibration_table(calibration, classes)));
  std::vector<Figure> reliability{
      saved_figure(out, "reliability", top_label_plot("Reliability, predicted class", folds))};
  for (std::size_t c = 0; c < classes.size(); ++c)
    reliability.push_back(saved_figure(out, fmt::format("reliability_{}", c),
                                       reliability_plot("Reliability, " + classes[c], sets[c])));
  report.figures(reliability);
  add_training(report, e.run.folder, out);
  add_heatmaps(report, e, heatmaps, out, compute);
  report.section("Checklist");
  report.table(saved_table(out, "claim", claim_table(read_run_facts(e.run.folder)), Print::no));
  add_provenance(report, e.run.folder);
  report.write(e.run.folder / "report.html");
}

}  // namespace thorax::app
