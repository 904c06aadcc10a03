#include "apps/audit_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "apps/audit_parts.h"
#include "apps/evaluation.h"
#include "apps/heat_figures.h"
#include "apps/multiclass_tables.h"
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

// A row judged: its area (macro, of three classes or more), balanced accuracy, and everything.
struct Judged {
  std::string name;
  std::vector<FoldResult> folds;
  Interval auc, balanced_accuracy;
  std::optional<MulticlassEvaluation> classes;  // of three or more
  nlohmann::json json;
};

Judged judged(const std::string& name, std::vector<FoldResult> folds, std::uint64_t seed,
              const std::vector<std::string>& classes) {
  Judged j{name, std::move(folds), {}, {}, {}, {}};
  if (classes.size() == 2) {
    const ClassifierEvaluation evaluation = evaluate_folds(j.folds, seed, classes);
    j.auc = image_figure(evaluation, "auc");
    j.balanced_accuracy = image_figure(evaluation, "balanced_accuracy");
    j.json = to_json(evaluation);
    return j;
  }
  j.classes = evaluate_multiclass_folds(j.folds, seed, classes);
  j.auc = multiclass_figure(*j.classes, "macro_auc");
  j.balanced_accuracy = multiclass_figure(*j.classes, "balanced_accuracy");
  j.json = to_json(*j.classes);
  return j;
}

AucFigure auc_of(const Judged& row) {
  return {row.auc.value, row.auc.low, row.auc.high};
}

std::vector<Cell> control_row(const std::string& name, const Judged& row,
                              const AucFigure& headline) {
  const double share = share_explained(headline, auc_of(row));
  // Of a headline at chance there is no share.
  const bool has_share = headline.auc > 0.5 && !std::isnan(share);
  return {name, interval_cell(row.auc), interval_cell(row.balanced_accuracy),
          has_share ? Cell{share} : Cell{}};
}

// Of three classes or more: which of them a control tells from the rest.
Table by_class_table(const std::vector<Judged>& rows, const std::vector<std::string>& classes) {
  Table table{"AUC of each class against the rest, 95 % intervals",
              {{"what the network is given", CellKind::text}},
              {}};
  for (const std::string& name : classes)
    table.columns.push_back({"of " + name, CellKind::percent, 1});
  for (const Judged& row : rows) {
    std::vector<Cell> cells{row.name};
    for (std::size_t c = 0; c < classes.size(); ++c)
      cells.push_back(interval_cell(multiclass_figure(*row.classes, "auc", static_cast<int>(c))));
    table.rows.push_back(std::move(cells));
  }
  return table;
}

// ROC of the headline and its controls: of two classes one figure, of more one for each class.
std::vector<Figure> roc_figures(const std::vector<Judged>& rows,
                                const std::vector<std::string>& classes, const fs::path& out) {
  std::vector<ScoredSet> sets;
  if (classes.size() == 2) {
    for (const Judged& row : rows) sets.push_back(pooled_set(row.name, row.folds));
    return {saved_figure(out, "roc", roc_plot("ROC, all folds together", sets))};
  }
  std::vector<Figure> figures;
  for (std::size_t c = 0; c < classes.size(); ++c) {
    sets.clear();
    for (const Judged& row : rows) sets.push_back(class_set(row.name, row.folds, c));
    figures.push_back(
        saved_figure(out, fmt::format("roc-{}", c),
                     roc_plot(fmt::format("ROC, {} against the rest", classes[c]), sets)));
  }
  return figures;
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

  const std::vector<std::string>& classes = e.run.dataset.classes;
  AuditFacts facts;
  facts.two_classes = classes.size() == 2;
  if (!facts.two_classes) facts.measure = "macro AUC";
  facts.headline_name = model + " on " + name_of(headline_row.settings.seen());
  Table table{"The headline and its controls, on the same images",
              {{"what the network is given", CellKind::text},
               {facts.measure, CellKind::percent, 1},
               {"balanced accuracy", CellKind::percent, 1},
               {"share of the headline above chance", CellKind::percent, 0}},
              {}};
  nlohmann::json summary;
  std::vector<Judged> rows{judged("Lungs only", load_results(e, headline_row), seed, classes)};
  facts.headline = auc_of(rows[0]);
  table.rows.push_back(control_row("Lungs only (headline)", rows[0], facts.headline));
  summary["headline"] = rows[0].json;
  const auto add = [&](const std::string& name, const std::vector<FoldResult>& folds,
                       const std::string& meaning, ControlKind kind) {
    rows.push_back(judged(name, folds, seed, classes));
    table.rows.push_back(control_row(name, rows.back(), facts.headline));
    summary[name] = rows.back().json;
    facts.controls.push_back({name, meaning, kind, auc_of(rows.back())});
  };
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
      facts.two_classes ? fmt::format("Positive class: {}.", classes[1])
                        : "Macro AUC: the mean over the classes, each against the rest; balanced "
                          "accuracy: the mean sensitivity.",
      fmt::format("Pooled over the folds; 95 % intervals by resampling patients. The last column: "
                  "({} - 0.5) as a share of the headline's.",
                  facts.measure)};
  const std::vector<Statement> statements = audit_verdict(facts);
  nlohmann::json verdict = nlohmann::json::array();
  for (const Statement& s : statements)
    verdict.push_back({{"severity", word(s.severity)}, {"text", s.text}});
  save_json(out / "verdict.json", verdict);
  save_json(out / "summary.json", summary);

  Report report(
      "Audit of " + facts.headline_name,
      fmt::format(
          "{} images, {} folds; {}", e.run.dataset.samples.size(), e.by_patient.folds.size(),
          facts.two_classes ? fmt::format("positive class {}, negative {}", classes[1], classes[0])
                            : fmt::format("classes: {}", fmt::join(classes, ", "))));
  report.section("Verdict");
  const Table controls = saved_table(out, "controls", table);
  add_statements(report, statements);
  report.section("Controls");
  report.paragraph(
      "Every row is the same network, trained and judged on the same folds; only what it is shown, "
      "the labels or the split differ.");
  report.table(controls);
  if (!facts.two_classes)
    report.table(saved_table(out, "controls_by_class", by_class_table(rows, classes)));
  std::vector<ModelResult> results;
  for (const auto& row : controls.rows) {
    const double none = std::nan("");
    const auto interval = [&](const Cell& cell) {
      const Interval* i = std::get_if<Interval>(&cell);
      return i ? *i : Interval{none, none, none};
    };
    results.push_back({std::get<std::string>(row[0]), {interval(row[1])}});
  }
  std::vector<Figure> figures{
      saved_figure(out, "controls_chart",
                   comparison_chart(facts.measure + ", 95 % intervals", {facts.measure}, results))};
  for (Figure& figure : roc_figures(rows, classes, out)) figures.push_back(std::move(figure));
  if (!facts.two_classes)
    figures.push_back(saved_figure(
        out, "confusion",
        confusion_plot("The headline's decisions", rows[0].classes->all.confusion, classes)));
  report.figures(figures);
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
