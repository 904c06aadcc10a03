#include "apps/multilabel_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "apps/evaluation.h"
#include "apps/findings.h"
#include "apps/multiclass_report.h"
#include "apps/multilabel_tables.h"
#include "apps/report/claim.h"
#include "engine/io/config.h"
#include "engine/stats/multilabel.h"

namespace thorax::app {
namespace {

namespace fs = std::filesystem;

const std::vector<TableColumn> kFigureColumns{
    {"sensitivity", CellKind::percent, 1}, {"specificity", CellKind::percent, 1},
    {"PPV", CellKind::percent, 1},         {"F1", CellKind::percent, 1},
    {"AUC", CellKind::percent, 1},         {"average precision", CellKind::percent, 1}};

std::vector<double> values_of(const FindingFigures& f) {
  return {f.sensitivity, f.specificity, f.ppv, f.f1, f.auc, f.average_precision};
}

Table findings_table(const std::string& title) {
  Table table{title,
              {{"finding", CellKind::text},
               {"positive", CellKind::integer},
               {"negative", CellKind::integer},
               {"unknown", CellKind::integer}},
              {}};
  table.columns.insert(table.columns.end(), kFigureColumns.begin(), kFigureColumns.end());
  table.notes = {
      "A finding is called present from a probability of 0.5 on; images whose label of it is not "
      "known are left out. Macro: means over the findings, defined where every finding's is. "
      "Micro: all known pairs of image and finding together."};
  return table;
}

// The row's first cells: name and counts, none for macro.
std::vector<Cell> begin_row(const std::string& name, const FindingFigures* f) {
  if (f == nullptr) return {name, Cell{}, Cell{}, Cell{}};
  return {name, f->positive(), f->negative(), f->unknown};
}

// All folds together, with intervals: a row for each finding, macro and micro.
Table pooled_table(const MultilabelEvaluation& e) {
  Table table = findings_table("All folds together, 95 % intervals by resampling patients");
  const auto add = [&](const std::string& name, int finding, const FindingFigures* counts) {
    std::vector<Cell> row = begin_row(name, counts);
    for (const MultilabelFigure& f : e.figures)
      if (f.finding == finding)
        row.push_back(interval_cell({f.value, f.interval.low, f.interval.high}));
    table.rows.push_back(std::move(row));
  };
  for (std::size_t f = 0; f < e.findings.size(); ++f)
    add(e.findings[f], static_cast<int>(f), &e.all.findings[f]);
  add("macro", MultilabelFigure::kMacro, nullptr);
  add("micro", MultilabelFigure::kMicro, &e.all.micro);
  table.summary_rows = 2;
  return table;
}

// Of each finding the images of every fold, its AUC there, and the threshold that the fold's
// checkpoint carries.
Table by_fold_table(const MultilabelEvaluation& e, const std::vector<FoldResult>& folds) {
  Table table{"Every finding by fold",
              {{"finding", CellKind::text},
               {"fold", CellKind::text},
               {"positive", CellKind::integer},
               {"negative", CellKind::integer},
               {"unknown", CellKind::integer},
               {"AUC", CellKind::percent, 1},
               {"average precision", CellKind::percent, 1},
               {"threshold", CellKind::number, 4},
               {"sensitivity there", CellKind::percent, 1},
               {"specificity there", CellKind::percent, 1}},
              {}};
  std::vector<std::vector<std::optional<OperatingThreshold>>> thresholds;
  for (const FoldResult& fold : folds)
    thresholds.push_back(youden_thresholds(fold.scored, e.findings.size()));
  for (std::size_t f = 0; f < e.findings.size(); ++f)
    for (std::size_t k = 0; k < e.folds.size(); ++k) {
      const FindingFigures& r = e.folds[k].findings[f];
      const auto& t = thresholds[k][f];
      table.rows.push_back({e.findings[f], std::to_string(e.fold_numbers[k] + 1), r.positive(),
                            r.negative(), r.unknown, r.auc, r.average_precision,
                            t ? Cell{t->threshold} : Cell{}, t ? Cell{t->sensitivity} : Cell{},
                            t ? Cell{t->specificity} : Cell{}});
    }
  table.notes = {
      "Youden's threshold: where sensitivity + specificity is largest on the fold's held-out "
      "images, which it flatters. The fold's checkpoint carries it, and thorax predict goes by it "
      "unless --threshold is given.",
      "-: no image of one of the two kinds, or no threshold is better than chance there; the "
      "checkpoint has none, and thorax predict takes 0.5 in its place."};
  return table;
}

void add_curves(Report& report, const MultilabelEvaluation& e, const std::vector<FoldResult>& folds,
                const fs::path& out) {
  std::vector<ScoredSet> sets;
  for (std::size_t f = 0; f < e.findings.size(); ++f)
    sets.push_back(finding_set(e.findings[f], folds, f));
  report.subsection("Curves");
  report.figures({saved_figure(out, "roc", averaged_roc_plot("ROC by finding", sets)),
                  saved_figure(out, "precision_recall",
                               averaged_precision_recall_plot("Precision and recall", sets))});
  report.begin_details("Every finding by itself");
  std::vector<Figure> figures;
  for (std::size_t f = 0; f < e.findings.size(); ++f) {
    std::vector<ScoredSet> by_fold;
    for (std::size_t k = 0; k < folds.size(); ++k)
      by_fold.push_back(finding_set(fmt::format("fold {}", k + 1), {folds[k]}, f));
    figures.push_back(saved_figure(out, fmt::format("roc_{}", f + 1),
                                   roc_plot("ROC: " + e.findings[f], by_fold, true)));
    figures.push_back(
        saved_figure(out, fmt::format("precision_recall_{}", f + 1),
                     precision_recall_plot("Precision and recall: " + e.findings[f], {sets[f]})));
  }
  report.figures(figures);
  report.end_details();
}

}  // namespace

void print_multilabel(const std::vector<Scored>& scored, const std::vector<std::string>& findings) {
  const FindingScores all = finding_scores(scored);
  const MultilabelReport report = multilabel_report(all.labels, all.probabilities, findings.size());
  Table table = findings_table(fmt::format("Validation, {} images", scored.size()));
  const auto add = [&](const std::string& name, const FindingFigures& f, bool counts) {
    std::vector<Cell> row = begin_row(name, counts ? &f : nullptr);
    for (const double value : values_of(f)) row.emplace_back(value);
    table.rows.push_back(std::move(row));
  };
  for (std::size_t f = 0; f < findings.size(); ++f) add(findings[f], report.findings[f], true);
  add("macro", report.macro, false);
  add("micro", report.micro, true);
  table.summary_rows = 2;
  fmt::print("{}\n", to_text(table));
}

void report_multilabel(const Experiment& e, const std::vector<FoldResult>& folds,
                       std::int64_t heatmaps, const Compute& compute) {
  const ExperimentRow& row = e.rows[0];
  const std::vector<std::string>& findings = e.run.dataset.classes;
  const fs::path out = e.run.folder / "crossval";
  const MultilabelEvaluation evaluation =
      evaluate_multilabel_folds(folds, static_cast<std::uint64_t>(row.settings.seed), findings);
  const std::vector<FindingCalibration> calibrations = finding_calibrations(folds, findings.size());
  nlohmann::json summary = to_json(evaluation);
  summary["calibration"] = to_json(calibrations, findings);
  save_json(out / "summary.json", summary);

  Report report(
      fmt::format("Cross-validation: {} on {}", row.settings.model.at("model").get<std::string>(),
                  name_of(row.settings.seen())),
      fmt::format("{} images of {} patients, {} folds; findings, of which an image may have "
                  "several: {}",
                  evaluation.image_count, evaluation.patient_count, folds.size(),
                  fmt::join(findings, ", ")));
  report.section("Results");
  note_views(report, row.settings);
  report.table(saved_table(out, "folds", multilabel_folds_table(evaluation)));
  report.table(saved_table(out, "findings", pooled_table(evaluation)));
  report.table(saved_table(out, "findings_by_fold", by_fold_table(evaluation, folds)));
  add_curves(report, evaluation, folds, out);
  report.subsection("Reliability");
  report.table(saved_table(out, "calibration", finding_calibration_table(calibrations, findings)));
  std::vector<Figure> reliability;
  for (std::size_t f = 0; f < findings.size(); ++f)
    reliability.push_back(saved_figure(
        out, fmt::format("reliability_{}", f + 1),
        reliability_plot("Reliability, " + findings[f], finding_set(findings[f], folds, f))));
  report.figures(reliability);
  add_training(report, e.run.folder, out);
  add_heatmaps(report, e, heatmaps, out, compute);
  report.section("Checklist");
  report.table(saved_table(out, "claim", claim_table(read_run_facts(e.run.folder)), Print::no));
  add_provenance(report, e.run.folder);
  report.write(e.run.folder / "report.html");
}

}  // namespace thorax::app
