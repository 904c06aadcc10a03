// `compare` of several findings an image.
#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>

#include "apps/compare_parts.h"
#include "apps/evaluation.h"
#include "apps/multilabel_tables.h"
#include "engine/io/config.h"

namespace thorax::app {
namespace {

namespace fs = std::filesystem;

constexpr int kMacro = MultilabelFigure::kMacro, kMicro = MultilabelFigure::kMicro;

Table results_table(const std::vector<ComparedRow>& rows,
                    const std::vector<MultilabelEvaluation>& evaluations) {
  Table table{"Networks and views on the same folds, pooled over the folds",
              {{"network", CellKind::text},
               {"view", CellKind::text},
               {"macro AUC", CellKind::percent, 1},
               {"macro average precision", CellKind::percent, 1},
               {"macro F1", CellKind::percent, 1},
               {"micro AUC", CellKind::percent, 1},
               {"micro average precision", CellKind::percent, 1},
               {"micro F1", CellKind::percent, 1}},
              {}};
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::vector<Cell> cells{rows[i].model, rows[i].view};
    for (const int of : {kMacro, kMicro})
      for (const char* name : {"auc", "average_precision", "f1"})
        cells.push_back(interval_cell(multilabel_figure(evaluations[i], name, of)));
    table.rows.push_back(std::move(cells));
  }
  table.notes = {
      "Macro: means over the findings. Micro: all known pairs of image and finding together. F1 at "
      "a probability of 0.5. Images whose label of a finding is not known are left out of its "
      "figures. 95 % intervals by resampling patients."};
  return table;
}

// One measure: a row per finding and the macro mean, a column per network and view.
Table by_finding_table(const std::string& title, const char* measure,
                       const std::vector<ComparedRow>& rows,
                       const std::vector<MultilabelEvaluation>& evaluations) {
  Table table{title,
              {{"finding", CellKind::text},
               {"positive", CellKind::integer},
               {"negative", CellKind::integer},
               {"unknown", CellKind::integer}},
              {}};
  for (const ComparedRow& r : rows) table.columns.push_back({r.name, CellKind::percent, 1});
  const MultilabelEvaluation& first = evaluations.front();
  for (std::size_t f = 0; f <= first.findings.size(); ++f) {
    const bool macro = f == first.findings.size();
    std::vector<Cell> cells{macro ? "macro" : first.findings[f], Cell{}, Cell{}, Cell{}};
    if (!macro) {
      const FindingFigures& counts = first.all.findings[f];
      cells = {first.findings[f], counts.positive(), counts.negative(), counts.unknown};
    }
    for (const MultilabelEvaluation& e : evaluations)
      cells.push_back(
          interval_cell(multilabel_figure(e, measure, macro ? kMacro : static_cast<int>(f))));
    table.rows.push_back(std::move(cells));
  }
  table.summary_rows = 1;
  return table;
}

// What every row decides of every finding, for those who want the counts.
Table decisions_table(const std::vector<ComparedRow>& rows,
                      const std::vector<MultilabelEvaluation>& evaluations) {
  Table table{"Decisions at a probability of 0.5",
              {{"network", CellKind::text},
               {"view", CellKind::text},
               {"finding", CellKind::text},
               {"true positive", CellKind::integer},
               {"false negative", CellKind::integer},
               {"false positive", CellKind::integer},
               {"true negative", CellKind::integer}},
              {}};
  for (std::size_t i = 0; i < rows.size(); ++i)
    for (std::size_t f = 0; f < evaluations[i].findings.size(); ++f) {
      const BinaryCounts& c = evaluations[i].all.findings[f].counts;
      table.rows.push_back(
          {rows[i].model, rows[i].view, evaluations[i].findings[f], c.tp, c.fn, c.fp, c.tn});
    }
  return table;
}

void add_curves(Report& report, const std::vector<ComparedRow>& rows,
                const std::vector<std::string>& findings, const fs::path& out) {
  std::map<std::string, std::vector<const ComparedRow*>> by_view;
  for (const ComparedRow& r : rows) by_view[r.view].push_back(&r);
  std::vector<Figure> curves;
  for (const auto& [view, of_view] : by_view)
    for (std::size_t f = 0; f < findings.size(); ++f) {
      std::vector<ScoredSet> sets;
      for (const ComparedRow* r : of_view) sets.push_back(finding_set(r->model, r->folds, f));
      curves.push_back(saved_figure(out, fmt::format("roc-{}-{}", view, f),
                                    roc_plot(fmt::format("ROC, {}, {}", view, findings[f]), sets)));
    }
  report.figures(curves);
}

}  // namespace

std::vector<MultilabelEvaluation> report_compared_findings(Report& report, const Experiment& e,
                                                           const std::vector<ComparedRow>& rows,
                                                           const fs::path& out) {
  const std::vector<std::string>& findings = e.run.dataset.classes;
  std::vector<MultilabelEvaluation> evaluations;
  nlohmann::json summary;
  for (const ComparedRow& r : rows) {
    evaluations.push_back(evaluate_multilabel_folds(
        r.folds, static_cast<std::uint64_t>(r.row->settings.seed), findings));
    summary[r.name] = to_json(evaluations.back());
  }
  save_json(out / "summary.json", summary);

  report.section("Results");
  report.table(saved_table(out, "table7", results_table(rows, evaluations)));
  const std::vector<std::string> measures{"macro AUC", "macro average precision", "macro F1"};
  std::vector<ModelResult> results;
  for (std::size_t i = 0; i < rows.size(); ++i)
    results.push_back({rows[i].name,
                       {multilabel_figure(evaluations[i], "auc", kMacro),
                        multilabel_figure(evaluations[i], "average_precision", kMacro),
                        multilabel_figure(evaluations[i], "f1", kMacro)}});
  report.figure(saved_figure(out, "comparison",
                             comparison_chart("All rows, 95 % intervals", measures, results)));
  report.table(saved_table(
      out, "auc",
      by_finding_table("AUC of each finding, 95 % intervals", "auc", rows, evaluations)));
  report.table(saved_table(
      out, "average_precision",
      by_finding_table("Average precision of each finding, 95 % intervals; guessing reaches the "
                       "share of positive images",
                       "average_precision", rows, evaluations)));
  report.begin_details(
      "F1, sensitivity and specificity at a probability of 0.5, and the decisions");
  for (const auto& [name, title] : {std::pair<const char*, const char*>{"f1", "F1"},
                                    {"sensitivity", "Sensitivity"},
                                    {"specificity", "Specificity"}})
    report.table(saved_table(out, name,
                             by_finding_table(fmt::format("{} of each finding at a probability of "
                                                          "0.5, 95 % intervals",
                                                          title),
                                              name, rows, evaluations),
                             Print::no));
  report.table(saved_table(out, "decisions", decisions_table(rows, evaluations), Print::no));
  report.end_details();
  report.note(
      "What a network can learn from where an image comes from instead of its findings is not in "
      "these tables: thorax audit measures it.");
  if (const auto pairs = pairs_of(rows); !pairs.empty()) {
    report.section("Is one better?");
    report.table(saved_table(out, "tests", multilabel_paired_tests(pairs, findings)));
  }
  report.section("Curves");
  report.paragraph(
      "There is no confusion matrix of all findings: an image may have several, so none is taken "
      "for another; the decisions on each are counted above.");
  add_curves(report, rows, findings, out);
  return evaluations;
}

}  // namespace thorax::app
