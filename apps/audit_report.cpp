#include "apps/audit_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "apps/audit_parts.h"
#include "apps/evaluation.h"
#include "apps/heat_figures.h"
#include "apps/report/audit_verdict.h"
#include "apps/report/claim.h"
#include "engine/io/atomic_file.h"
#include "engine/io/config.h"

namespace thorax::app {
namespace {

namespace fs = std::filesystem;

struct ControlText {
  const char* name;
  const char* meaning;
  ControlKind kind;
};

// By the name of the row.
const std::map<std::string, ControlText>& control_texts() {
  static const std::map<std::string, ControlText> texts{
      {"whole",
       {"Whole image", "What is outside of the lungs adds to the figure", ControlKind::leak}},
      {"no-lungs",
       {"Lungs blacked out",
        "Only the lungs' outline and their surroundings are left, and they tell the classes apart",
        ControlKind::confounder}},
      {"no-lungs-filled",
       {"Lungs filled", "What surrounds the lungs tells the classes apart without them",
        ControlKind::confounder}},
      {"border",
       {"Border and corners only",
        "Markers, collimation and padding tell the classes apart: the network can learn the source",
        ControlKind::confounder}},
      {"random-labels",
       {"Random labels, patients kept together",
        "There is nothing to be learned, so images must leak between the folds",
        ControlKind::chance}},
      {"patient-leak",
       {"Split by image, as in the study",
        "Images of one patient on both sides of the split make the figure look better",
        ControlKind::leak}},
      {"random-labels-leak",
       {"Random labels, split by image",
        "So much can be had from recognising patients alone when they sit on both sides",
        ControlKind::memory}}};
  return texts;
}

AucFigure auc_of(const ClassifierEvaluation& evaluation) {
  const Interval auc = image_figure(evaluation, "auc");
  return {auc.value, auc.low, auc.high};
}

std::vector<Cell> control_row(const std::string& name, const ClassifierEvaluation& evaluation,
                              const AucFigure& headline) {
  const Interval auc = image_figure(evaluation, "auc");
  const Interval accuracy = image_figure(evaluation, "balanced_accuracy");
  const auto cell = [](const Interval& i) { return std::isnan(i.value) ? Cell{} : Cell{i}; };
  const double share = share_explained(headline, {auc.value, auc.low, auc.high});
  // Of a headline at chance there is no share.
  const bool has_share = headline.auc > 0.5 && !std::isnan(share);
  return {name, cell(auc), cell(accuracy), has_share ? Cell{share} : Cell{}};
}

const char* word(Severity severity) {
  return severity == Severity::warning ? "warning" : severity == Severity::note ? "note" : "fine";
}

void add_statements(Report& report, const std::vector<Statement>& statements) {
  std::vector<std::string> fine;
  fmt::print("\n");
  for (const Statement& s : statements) {
    fmt::print("{:>7}: {}\n", word(s.severity), s.text);
    if (&s == &statements.front()) {  // the headline itself
      report.paragraph(s.text);
      continue;
    }
    if (s.severity == Severity::warning) report.warning(s.text);
    if (s.severity == Severity::note) report.note(s.text);
    if (s.severity == Severity::fine) fine.push_back(s.text);
  }
  if (!fine.empty()) report.list(fine);
}

}  // namespace

void report_audit(const Experiment& e, const AuditOptions& options, const Compute& compute) {
  const fs::path out = e.run.folder / "audit";
  create_folders(out);
  const ExperimentRow& headline_row = e.rows.front();
  const auto seed = static_cast<std::uint64_t>(headline_row.settings.seed);
  const std::string model = headline_row.settings.model.at("model");

  AuditFacts facts;
  facts.headline_name = model + " on " + name_of(headline_row.settings.seen());
  Table table{"The headline and its controls, on the same images",
              {{"what the network is given", CellKind::text},
               {"AUC", CellKind::percent, 1},
               {"balanced accuracy", CellKind::percent, 1},
               {"share of the headline above chance", CellKind::percent, 0}},
              {}};
  nlohmann::json summary;
  std::vector<ScoredSet> curves;
  const auto add = [&](const std::string& name, const std::vector<FoldResult>& folds,
                       const std::string& meaning, ControlKind kind) {
    const ClassifierEvaluation evaluation = evaluate_folds(folds, seed, e.run.dataset.classes);
    table.rows.push_back(control_row(name, evaluation, facts.headline));
    summary[name] = to_json(evaluation);
    curves.push_back(pooled_set(name, folds));
    facts.controls.push_back({name, meaning, kind, auc_of(evaluation)});
  };
  {
    const std::vector<FoldResult> folds = load_results(e, headline_row);
    const ClassifierEvaluation evaluation = evaluate_folds(folds, seed, e.run.dataset.classes);
    facts.headline = auc_of(evaluation);
    table.rows.push_back(control_row("Lungs only (headline)", evaluation, facts.headline));
    summary["headline"] = to_json(evaluation);
    curves.push_back(pooled_set("Lungs only", folds));
  }
  for (std::size_t i = 1; i < e.rows.size(); ++i) {
    const ControlText& text = control_texts().at(e.rows[i].name);
    add(text.name, load_results(e, e.rows[i]), text.meaning, text.kind);
  }
  add("Image statistics only", statistics_baseline(e, headline_row),
      "A handful of numbers about size, brightness and file, no anatomy, tell the classes apart",
      ControlKind::confounder);
  if (!options.external.empty())
    add(kExternalControl, {external_result(e, headline_row, options.external, compute)},
        "The network recognises where images come from", ControlKind::external);

  const DuplicateFigures duplicates = duplicate_figures(e);
  facts.duplicate_pairs_across_folds = duplicates.across_folds;
  facts.patients_joined = duplicates.joined_patients;
  facts.classes_by_source = classes_by_source(e.run.dataset);
  HeatFigures heat;
  if (options.heatmaps > 0) {
    heat = heat_figures(e, headline_row, options.heatmaps, out / "heatmaps", compute);
    facts.heat_inside = heat.inside;
    facts.lung_area = heat.area;
  }
  table.notes = {
      fmt::format("Positive class: {}.", e.run.dataset.classes[1]),
      "Pooled over the folds; 95 % intervals by resampling patients. The last column: (AUC - 0.5) "
      "as "
      "a share of the headline's."};
  const std::vector<Statement> statements = audit_verdict(facts);
  nlohmann::json verdict = nlohmann::json::array();
  for (const Statement& s : statements)
    verdict.push_back({{"severity", word(s.severity)}, {"text", s.text}});
  save_json(out / "verdict.json", verdict);
  save_json(out / "summary.json", summary);

  Report report("Audit of " + facts.headline_name,
                fmt::format("{} images, {} folds; positive class {}, negative {}",
                            e.run.dataset.samples.size(), e.by_patient.folds.size(),
                            e.run.dataset.classes[1], e.run.dataset.classes[0]));
  report.section("Verdict");
  const Table controls = saved_table(out, "controls", table);
  add_statements(report, statements);
  report.section("Controls");
  report.paragraph(
      "Every row is the same network, trained and judged on the same folds; only what it is shown, "
      "the labels or the split differ.");
  report.table(controls);
  std::vector<ModelResult> results;
  for (const auto& row : controls.rows) {
    const double none = std::nan("");
    const auto interval = [&](const Cell& cell) {
      const Interval* i = std::get_if<Interval>(&cell);
      return i ? *i : Interval{none, none, none};
    };
    results.push_back({std::get<std::string>(row[0]), {interval(row[1])}});
  }
  report.figures({saved_figure(out, "controls_chart",
                               comparison_chart("AUC, 95 % intervals", {"AUC"}, results)),
                  saved_figure(out, "roc", roc_plot("ROC, all folds together", curves))});
  report.section("Near-duplicates");
  const Table pairs = saved_table(out, "duplicates", duplicates.table);
  if (pairs.rows.empty()) report.paragraph("No image of one patient was found under another.");
  report.table(pairs);
  if (!heat.table.rows.empty()) {
    report.section("Where the network looks");
    report.table(saved_table(out, "heatmaps", heat.table));
    add_heatmap_pictures(report, heat, 12);
  }
  report.section("Checklist");
  report.table(saved_table(out, "claim", claim_table(read_run_facts(e.run.folder)), Print::no));
  add_provenance(report, e.run.folder);
  report.write(e.run.folder / "report.html");
  fmt::print("\n{}\n{}\n", (out / "verdict.json").string(),
             (e.run.folder / "report.html").string());
}

}  // namespace thorax::app
