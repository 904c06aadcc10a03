// `compare` of three classes or more.
#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>

#include "apps/compare_parts.h"
#include "apps/evaluation.h"
#include "apps/multiclass_tables.h"
#include "engine/io/config.h"

namespace thorax::app {
namespace {

namespace fs = std::filesystem;

Table results_table(const std::vector<ComparedRow>& rows,
                    const std::vector<MulticlassEvaluation>& evaluations) {
  Table table{"Networks and views on the same folds, pooled over the folds",
              {{"network", CellKind::text},
               {"view", CellKind::text},
               {"accuracy", CellKind::percent, 1},
               {"balanced accuracy", CellKind::percent, 1},
               {"macro F1", CellKind::percent, 1},
               {"macro AUC", CellKind::percent, 1}},
              {}};
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::vector<Cell> cells{rows[i].model, rows[i].view};
    for (const char* name : {"accuracy", "balanced_accuracy", "macro_f1", "macro_auc"})
      cells.push_back(interval_cell(multiclass_figure(evaluations[i], name)));
    table.rows.push_back(std::move(cells));
  }
  table.notes = {
      "Per image; predicted is the class of the largest probability. Macro figures are means over "
      "the classes, AUC of each against the rest. 95 % intervals by resampling patients."};
  return table;
}

// One measure of every class, a row per network and view.
Table by_class_table(const std::string& title, const char* measure,
                     const std::vector<ComparedRow>& rows,
                     const std::vector<MulticlassEvaluation>& evaluations) {
  Table table{title, {{"network", CellKind::text}, {"view", CellKind::text}}, {}};
  for (const std::string& name : evaluations.front().classes)
    table.columns.push_back({"of " + name, CellKind::percent, 1});
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::vector<Cell> cells{rows[i].model, rows[i].view};
    for (std::size_t c = 0; c < evaluations[i].classes.size(); ++c)
      cells.push_back(
          interval_cell(multiclass_figure(evaluations[i], measure, static_cast<int>(c))));
    table.rows.push_back(std::move(cells));
  }
  return table;
}

}  // namespace

std::vector<MulticlassEvaluation> report_compared_classes(Report& report, const Experiment& e,
                                                          const std::vector<ComparedRow>& rows,
                                                          const fs::path& out) {
  const std::vector<std::string>& classes = e.run.dataset.classes;
  std::vector<MulticlassEvaluation> evaluations;
  nlohmann::json summary;
  for (const ComparedRow& r : rows) {
    evaluations.push_back(evaluate_multiclass_folds(
        r.folds, static_cast<std::uint64_t>(r.row->settings.seed), classes));
    summary[r.name] = to_json(evaluations.back());
  }
  save_json(out / "summary.json", summary);

  report.section("Results");
  report.table(saved_table(out, "table7", results_table(rows, evaluations)));
  const std::vector<std::string> measures{"accuracy", "balanced accuracy", "macro F1", "macro AUC"};
  std::vector<ModelResult> results;
  for (std::size_t i = 0; i < rows.size(); ++i)
    results.push_back({rows[i].name,
                       {multiclass_figure(evaluations[i], "accuracy"),
                        multiclass_figure(evaluations[i], "balanced_accuracy"),
                        multiclass_figure(evaluations[i], "macro_f1"),
                        multiclass_figure(evaluations[i], "macro_auc")}});
  report.figure(saved_figure(out, "comparison",
                             comparison_chart("All rows, 95 % intervals", measures, results)));
  report.table(saved_table(out, "sensitivity",
                           by_class_table("Sensitivity of each class, 95 % intervals",
                                          "sensitivity", rows, evaluations)));
  report.table(saved_table(out, "auc",
                           by_class_table("AUC of each class against the rest, 95 % intervals",
                                          "auc", rows, evaluations)));
  report.note(kCollectionsNote);
  if (const auto pairs = pairs_of(rows); !pairs.empty()) {
    report.section("Is one better?");
    report.table(saved_table(out, "tests",
                             multiclass_paired_tests(pairs, static_cast<int>(classes.size()))));
  }
  report.section("Curves and confusion matrices");
  std::map<std::string, std::vector<const ComparedRow*>> by_view;
  for (const ComparedRow& r : rows) by_view[r.view].push_back(&r);
  std::vector<Figure> curves, matrices;
  for (const auto& [view, of_view] : by_view)
    for (std::size_t c = 0; c < classes.size(); ++c) {
      std::vector<ScoredSet> sets;
      for (const ComparedRow* r : of_view) sets.push_back(class_set(r->model, r->folds, c));
      curves.push_back(saved_figure(
          out, fmt::format("roc-{}-{}", view, c),
          roc_plot(fmt::format("ROC, {}, {} against the rest", view, classes[c]), sets)));
    }
  for (std::size_t i = 0; i < rows.size(); ++i)
    matrices.push_back(
        saved_figure(out, "confusion-" + rows[i].name,
                     confusion_plot(rows[i].name, evaluations[i].all.confusion, classes)));
  report.figures(curves);
  report.figures(matrices);
  return evaluations;
}

}  // namespace thorax::app
