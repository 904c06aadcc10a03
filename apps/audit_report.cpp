#include "apps/audit_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "apps/audit_findings.h"
#include "apps/audit_parts.h"
#include "apps/evaluation.h"
#include "apps/heat_figures.h"
#include "apps/multiclass_tables.h"
#include "apps/multilabel_tables.h"
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

// By the name of the row; {} is what the network is to do (task_text).
const std::map<std::string, ControlText>& control_texts() {
  static const std::map<std::string, ControlText> texts{
      {"whole",
       {"Whole image", "What is outside of the lungs adds to the figure", ControlKind::leak}},
      {"no-lungs",
       {"Lungs blacked out", "Only the lungs' outline and their surroundings are left, and they {}",
        ControlKind::confounder}},
      {"no-lungs-filled",
       {"Lungs filled", "What surrounds the lungs is enough to {}", ControlKind::confounder}},
      {"border",
       {"Border and corners only",
        "Markers, collimation and padding {}: the network can learn the source",
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

const char* task_text(const Dataset& dataset) {
  return dataset.multilabel ? "tell images with a finding from those without"
                            : "tell the classes apart";
}

// A row judged: its area (macro, of three classes or more and of findings), balanced accuracy (of
// findings macro average precision), and everything.
struct Judged {
  std::string name;
  std::vector<FoldResult> folds;
  Interval auc, second;
  std::optional<MulticlassEvaluation> classes;   // of three or more
  std::optional<MultilabelEvaluation> findings;  // of several findings an image
  nlohmann::json json;
};

Judged judged(const std::string& name, std::vector<FoldResult> folds, std::uint64_t seed,
              const std::vector<std::string>& classes, bool findings) {
  Judged j{name, std::move(folds), {}, {}, {}, {}, {}};
  if (findings) {
    j.findings = evaluate_multilabel_folds(j.folds, seed, classes);
    j.auc = multilabel_figure(*j.findings, "auc", MultilabelFigure::kMacro);
    j.second = multilabel_figure(*j.findings, "average_precision", MultilabelFigure::kMacro);
    j.json = to_json(*j.findings);
  } else if (classes.size() == 2) {
    const ClassifierEvaluation evaluation = evaluate_folds(j.folds, seed, classes);
    j.auc = image_figure(evaluation, "auc");
    j.second = image_figure(evaluation, "balanced_accuracy");
    j.json = to_json(evaluation);
  } else {
    j.classes = evaluate_multiclass_folds(j.folds, seed, classes);
    j.auc = multiclass_figure(*j.classes, "macro_auc");
    j.second = multiclass_figure(*j.classes, "balanced_accuracy");
    j.json = to_json(*j.classes);
  }
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
  return {name, interval_cell(row.auc), interval_cell(row.second),
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

// ROC of the headline and its controls: of two classes one figure, of more one for each class, and
// one for each finding.
std::vector<Figure> roc_figures(const std::vector<Judged>& rows, const Dataset& dataset,
                                const fs::path& out) {
  const std::vector<std::string>& classes = dataset.classes;
  const bool findings = dataset.multilabel;
  std::vector<ScoredSet> sets;
  if (!findings && classes.size() == 2) {
    for (const Judged& row : rows) sets.push_back(pooled_set(row.name, row.folds));
    return {saved_figure(out, "roc", roc_plot("ROC, all folds together", sets))};
  }
  std::vector<Figure> figures;
  for (std::size_t c = 0; c < classes.size(); ++c) {
    sets.clear();
    for (const Judged& row : rows)
      sets.push_back(findings ? finding_set(row.name, row.folds, c)
                              : class_set(row.name, row.folds, c));
    figures.push_back(saved_figure(
        out, fmt::format("roc-{}", c),
        roc_plot(fmt::format("ROC, {}{}", classes[c], findings ? "" : " against the rest"), sets)));
  }
  return figures;
}

// What is said of every finding by itself.
void add_findings(Report& report, const std::vector<Judged>& rows,
                  const std::vector<AuditFacts>& facts, const std::vector<std::string>& findings,
                  const fs::path& out) {
  std::vector<NamedEvaluation> evaluations;
  for (const Judged& row : rows) evaluations.push_back({row.name, &*row.findings});
  report.table(
      saved_table(out, "controls_by_finding", controls_by_finding_table(evaluations, findings)));
  const Table verdicts = verdicts_by_finding_table(facts, findings);
  report.table(saved_table(out, "verdicts_by_finding", verdicts, Print::no));
  fmt::print("\n");
  for (const std::vector<Cell>& row : verdicts.rows)
    fmt::print("{}: {}\n", std::get<std::string>(row.front()), std::get<std::string>(row.back()));
  report.paragraph(
      "There is no confusion matrix of all findings: an image may have several, so none is taken "
      "for another.");
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

  const Dataset& dataset = e.run.dataset;
  const std::vector<std::string>& classes = dataset.classes;
  const bool findings = dataset.multilabel;
  AuditFacts facts;
  facts.findings = findings;
  facts.two_classes = !findings && classes.size() == 2;
  if (!facts.two_classes) facts.measure = "macro AUC";
  facts.headline_name = model + " on " + name_of(headline_row.settings.seen());
  Table table{"The headline and its controls, on the same images",
              {{"what the network is given", CellKind::text},
               {facts.measure, CellKind::percent, 1},
               {findings ? "macro average precision" : "balanced accuracy", CellKind::percent, 1},
               {"share of the headline above chance", CellKind::percent, 0}},
              {}};
  nlohmann::json summary;
  std::vector<Judged> rows{
      judged("Lungs only", load_results(e, headline_row), seed, classes, findings)};
  facts.headline = auc_of(rows[0]);
  table.rows.push_back(control_row("Lungs only (headline)", rows[0], facts.headline));
  summary["headline"] = rows[0].json;
  std::vector<FindingCalibration> calibrations;
  if (findings) {
    calibrations = finding_calibrations(rows[0].folds, classes.size());
    summary["headline"]["calibration"] = to_json(calibrations, classes);
  }
  std::vector<AuditFacts> by_finding(findings ? classes.size() : 0);
  for (std::size_t f = 0; f < by_finding.size(); ++f) {
    by_finding[f].findings = true;
    by_finding[f].headline = finding_auc(*rows[0].findings, classes[f]);
  }
  // `headline`: on what the row is of, where that is less than all findings.
  const auto take = [&](Judged row, const std::string& meaning, ControlKind kind,
                        const std::optional<AucFigure>& headline) {
    table.rows.push_back(control_row(row.name, row, headline.value_or(facts.headline)));
    summary[row.name] = row.json;
    facts.controls.push_back({row.name, meaning, kind, auc_of(row), headline});
    for (std::size_t f = 0; f < by_finding.size(); ++f)
      by_finding[f].controls.push_back(
          {row.name, meaning, kind, finding_auc(*row.findings, classes[f])});
    rows.push_back(std::move(row));
  };
  const auto add = [&](const std::string& name, const std::vector<FoldResult>& folds,
                       const char* meaning, ControlKind kind) {
    take(judged(name, folds, seed, classes, findings),
         fmt::format(fmt::runtime(meaning), task_text(dataset)), kind, {});
  };
  std::vector<std::string> notes;
  for (std::size_t i = 1; i < e.rows.size(); ++i) {
    const ControlText& text = control_texts().at(e.rows[i].name);
    add(text.name, load_results(e, e.rows[i]), text.meaning, text.kind);
  }
  add("Image statistics only", statistics_baseline(e, headline_row, notes),
      "A handful of numbers about size, brightness and file, no anatomy, {}",
      ControlKind::confounder);
  if (!options.external.empty()) {
    const std::vector<FoldResult> folds{
        external_result(e, headline_row, options.external, notes, compute)};
    const char* meaning = "The network recognises where images come from";
    const std::vector<std::string> known =
        findings ? judged_findings(folds, classes) : std::vector<std::string>{};
    if (!findings || known.size() == classes.size() || known.empty()) {
      add(kExternalControl, folds, meaning, ControlKind::external);
    } else {
      const Judged beside =
          judged("", only_findings(rows[0].folds, classes, known), seed, known, true);
      Judged row =
          judged(kExternalControl, only_findings(folds, classes, known), seed, known, true);
      row.folds = folds;
      notes.push_back(fmt::format(
          "External images have no positive or no negative ones of some findings: their macro "
          "figures are of {} only, and stand beside the headline's of the same, AUC {:.3f}.",
          fmt::join(known, ", "), beside.auc.value));
      take(std::move(row), meaning, ControlKind::external, auc_of(beside));
    }
  }
  for (const std::string& note : notes) fmt::print(stderr, "note: {}\n", note);

  const DuplicateFigures duplicates = duplicate_figures(e);
  facts.duplicate_pairs_across_folds = duplicates.across_folds;
  facts.patients_joined = duplicates.joined_patients;
  if (findings)
    facts.findings_by_source = findings_by_source(dataset);
  else
    facts.classes_by_source = classes_by_source(dataset);
  HeatFigures heat;
  if (options.heatmaps > 0) {
    heat = heat_figures(e, headline_row, options.heatmaps, out / "heatmaps", compute);
    facts.heat_inside = heat.inside;
    facts.lung_area = heat.area;
  }
  table.notes = {
      facts.two_classes ? fmt::format("Positive class: {}.", classes[1])
      : findings ? "Macro: means over the findings, of images whose label is known. There is "
                   "no balanced accuracy of findings: an image may have several."
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
          facts.two_classes
              ? fmt::format("positive class {}, negative {}", classes[1], classes[0])
              : fmt::format("{}: {}",
                            findings ? "findings, of which an image may have several" : "classes",
                            fmt::join(classes, ", "))));
  report.section("Verdict");
  const Table controls = saved_table(out, "controls", table);
  add_statements(report, statements);
  report.section("Controls");
  note_views(report, headline_row.settings);
  report.paragraph(
      "Every row is the same network, trained and judged on the same folds; only what it is shown, "
      "the labels or the split differ.");
  report.table(controls);
  for (const std::string& note : notes) report.note(note);
  if (findings)
    add_findings(report, rows, by_finding, classes, out);
  else if (!facts.two_classes)
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
  for (Figure& figure : roc_figures(rows, dataset, out)) figures.push_back(std::move(figure));
  if (rows[0].classes)
    figures.push_back(saved_figure(
        out, "confusion",
        confusion_plot("The headline's decisions", rows[0].classes->all.confusion, classes)));
  report.figures(figures);
  if (findings) {
    report.section("Calibration of the headline");
    report.table(saved_table(out, "calibration", finding_calibration_table(calibrations, classes)));
  }
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
