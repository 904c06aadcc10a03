#include "apps/multiclass_report.h"

#include <fmt/format.h>

#include <cmath>

#include "apps/evaluation.h"
#include "engine/io/config.h"

namespace thorax::app {
namespace {

namespace fs = std::filesystem;

Cell number_or_nothing(double value) {
  return std::isnan(value) ? Cell{} : Cell{value};
}

MulticlassEvaluation evaluate(const std::vector<FoldResult>& folds,
                              const std::vector<std::string>& classes, std::uint64_t seed) {
  std::vector<MulticlassRow> rows;
  for (std::size_t k = 0; k < folds.size(); ++k)
    for (const Scored& s : folds[k].scored)
      rows.push_back({s.image, s.patient, static_cast<int>(k), s.label, s.probabilities});
  BootstrapOptions options;
  options.seed = seed;
  return evaluate_multiclass(rows, classes, options);
}

Table folds_table(const MulticlassEvaluation& e) {
  Table table{"Held-out images, by fold",
              {{"fold", CellKind::text},
               {"images", CellKind::integer},
               {"accuracy", CellKind::percent},
               {"balanced accuracy", CellKind::percent},
               {"macro F1", CellKind::percent},
               {"macro AUC", CellKind::percent}},
              {}};
  std::vector<std::vector<double>> columns(4);
  for (std::size_t k = 0; k < e.folds.size(); ++k) {
    const MulticlassReport& r = e.folds[k];
    const std::vector<double> values{r.accuracy, r.balanced_accuracy, r.macro_f1, r.macro_auc};
    std::vector<Cell> row{std::to_string(e.fold_numbers[k] + 1), r.confusion.total()};
    for (std::size_t m = 0; m < values.size(); ++m) {
      row.push_back(number_or_nothing(values[m]));
      columns[m].push_back(values[m]);
    }
    table.rows.push_back(std::move(row));
  }
  add_fold_means(table, columns);
  table.notes = {
      "Predicted is the class of the largest probability. Balanced accuracy is the mean "
      "sensitivity; "
      "macro figures are means over the classes, AUC of each against the rest; they are defined "
      "where "
      "every class is there."};
  return table;
}

// All folds together: a row per class, then what is of all classes.
Table classes_table(const MulticlassEvaluation& e) {
  Table table{
      "All folds together, each class against the rest, 95 % intervals by resampling patients",
      {{"class", CellKind::text},
       {"images", CellKind::integer},
       {"sensitivity", CellKind::percent, 1},
       {"specificity", CellKind::percent, 1},
       {"PPV", CellKind::percent, 1},
       {"F1", CellKind::percent, 1},
       {"AUC", CellKind::percent, 1}},
      {}};
  for (std::size_t c = 0; c < e.classes.size(); ++c) {
    std::vector<Cell> row{e.classes[c], e.all.classes[c].images};
    for (const MulticlassFigure& f : e.figures) {
      if (f.cls != static_cast<int>(c)) continue;
      row.push_back(std::isnan(f.value) ? Cell{}
                                        : Cell{Interval{f.value, f.interval.low, f.interval.high}});
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

Table overall_table(const MulticlassEvaluation& e) {
  Table table{"All folds together, 95 % intervals by resampling patients",
              {{"measure", CellKind::text}, {"value", CellKind::percent, 1}},
              {}};
  for (const MulticlassFigure& f : e.figures)
    if (f.cls < 0)
      table.rows.push_back(
          {f.name, std::isnan(f.value) ? Cell{}
                                       : Cell{Interval{f.value, f.interval.low, f.interval.high}}});
  return table;
}

MatrixPlot confusion_plot(const std::string& title, const ConfusionMatrix& matrix,
                          const std::vector<std::string>& classes) {
  MatrixPlot plot{title, classes, {}};
  for (int i = 0; i < matrix.classes(); ++i) {
    plot.counts.emplace_back();
    for (int j = 0; j < matrix.classes(); ++j) plot.counts.back().push_back(matrix.count(i, j));
  }
  return plot;
}

// Each class against the rest, all folds together.
std::vector<ScoredSet> one_against_rest(const std::vector<FoldResult>& folds,
                                        const std::vector<std::string>& classes) {
  std::vector<ScoredSet> sets;
  for (std::size_t c = 0; c < classes.size(); ++c) {
    ScoredSet set{classes[c], {}, {}};
    for (const FoldResult& fold : folds)
      for (const Scored& s : fold.scored) {
        set.labels.push_back(s.label == static_cast<int>(c) ? 1 : 0);
        set.scores.push_back(s.probabilities[c]);
      }
    sets.push_back(std::move(set));
  }
  return sets;
}

}  // namespace

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
    table.rows.push_back({classes[c], f.images, number_or_nothing(f.sensitivity),
                          number_or_nothing(f.specificity), number_or_nothing(f.ppv),
                          number_or_nothing(f.f1), number_or_nothing(f.auc)});
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
      evaluate(folds, classes, static_cast<std::uint64_t>(row.settings.seed));
  save_json(out / "summary.json", to_json(evaluation));

  Report report(
      fmt::format("Cross-validation: {} on {}", row.settings.model.at("model").get<std::string>(),
                  name_of(row.settings.seen())),
      fmt::format("{} images of {} patients, {} folds; classes: {}", evaluation.image_count,
                  evaluation.patient_count, folds.size(), fmt::join(classes, ", ")));
  report.section("Results");
  report.table(saved_table(out, "folds", folds_table(evaluation)));
  report.table(saved_table(out, "classes", classes_table(evaluation)));
  report.table(saved_table(out, "pooled", overall_table(evaluation)));
  report.subsection("Confusion matrix");
  fmt::print("\nAll folds\n{}", confusion_table(evaluation.all.confusion, classes));
  report.figures({saved_figure(out, "confusion",
                               confusion_plot("All folds", evaluation.all.confusion, classes))});
  report.subsection("Curves");
  const std::vector<ScoredSet> sets = one_against_rest(folds, classes);
  report.figures(
      {saved_figure(out, "roc", averaged_roc_plot("ROC, each class against the rest", sets)),
       saved_figure(out, "precision_recall",
                    averaged_precision_recall_plot("Precision and recall", sets))});
  add_training(report, e.run.folder, out);
  add_heatmaps(report, e, heatmaps, out, compute);
  add_provenance(report, e.run.folder);
  report.write(e.run.folder / "report.html");
}

}  // namespace thorax::app
