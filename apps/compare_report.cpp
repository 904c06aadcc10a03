#include "apps/compare_report.h"

#include <fmt/format.h>

#include <map>
#include <optional>
#include <set>

#include "apps/compare_parts.h"
#include "apps/evaluation.h"
#include "apps/heat_figures.h"
#include "apps/multiclass_tables.h"
#include "apps/multilabel_tables.h"
#include "apps/report/training_curves.h"
#include "engine/io/atomic_file.h"
#include "engine/io/config.h"

namespace thorax::app {
namespace {

namespace fs = std::filesystem;

// Table 7 as printed, in percent: accuracy, specificity, sensitivity, F1.
std::optional<std::array<double, 4>> printed(const std::string& model, const std::string& view) {
  static const std::map<std::pair<std::string, std::string>, std::array<double, 4>> table{
      {{"resnet152", "whole"}, {97.80, 98.00, 97.56, 97.56}},
      {{"densenet121", "whole"}, {98.90, 96.00, 98.00, 98.98}},
      {{"hrnet", "whole"}, {100, 100, 100, 100}},
      {{"resnet152", "lungs"}, {94.50, 94.00, 95.12, 93.97}},
      {{"densenet121", "lungs"}, {93.40, 96.00, 90.24, 92.49}},
      {{"hrnet", "lungs"}, {99.26, 98.82, 98.53, 99.25}}};
  const auto found = table.find({model.starts_with("hrnet") ? "hrnet" : model, view});
  if (found == table.end()) return std::nullopt;
  return found->second;
}

struct Row : ComparedRow {
  ClassifierEvaluation evaluation;
};

Table table7(const std::vector<Row>& rows) {
  Table table{"Networks and views on the same folds, pooled over the folds",
              {{"network", CellKind::text},
               {"view", CellKind::text},
               {"accuracy", CellKind::percent, 1},
               {"sensitivity", CellKind::percent, 1},
               {"specificity", CellKind::percent, 1},
               {"F1", CellKind::percent, 1},
               {"AUC", CellKind::percent, 1}},
              {}};
  for (const Row& r : rows) {
    std::vector<Cell> cells{r.model, r.view};
    for (const char* name : {"accuracy", "sensitivity", "specificity", "f1", "auc"})
      cells.push_back(interval_cell(image_figure(r.evaluation, name)));
    table.rows.push_back(std::move(cells));
  }
  table.notes = {fmt::format("Positive class: {}.", rows.front().evaluation.options.classes.at(1)),
                 "Per image, standard definitions, threshold 0.5; 95 % intervals by resampling "
                 "patients."};
  return table;
}

// Means over folds with the study's definitions, beside its printed row.
Table against_study(const std::vector<Row>& rows) {
  Table table{"With the study's definitions, mean over folds, beside what it printed",
              {{"network", CellKind::text},
               {"view", CellKind::text},
               {"accuracy", CellKind::percent},
               {"specificity", CellKind::percent},
               {"sensitivity", CellKind::percent},
               {"F1", CellKind::percent},
               {"folds with all four", CellKind::integer},
               {"printed accuracy", CellKind::percent},
               {"printed specificity", CellKind::percent},
               {"printed sensitivity", CellKind::percent},
               {"printed F1", CellKind::percent}},
              {}};
  for (const Row& r : rows) {
    std::array<std::vector<double>, 4> values;
    for (const BinaryReport& fold : r.evaluation.folds) {
      values[0].push_back(fold.counts.study_accuracy());
      values[1].push_back(fold.counts.study_specificity());
      values[2].push_back(fold.counts.sensitivity());
      values[3].push_back(fold.counts.f1());
    }
    std::vector<Cell> cells{r.model, r.view};
    int fewest = static_cast<int>(r.evaluation.folds.size());
    for (const auto& column : values) {
      const MeanDeviation s = spread(column);
      cells.push_back(number_cell(s.mean));
      fewest = std::min(fewest, s.count);
    }
    cells.emplace_back(std::int64_t{fewest});
    const auto study = printed(r.model, r.view);
    for (std::size_t i = 0; i < 4; ++i) cells.push_back(study ? Cell{(*study)[i] / 100} : Cell{});
    table.rows.push_back(std::move(cells));
  }
  table.notes = {
      "The study calls balanced accuracy accuracy and the negative predictive value specificity. "
      "Its "
      "data, resolution and training differ from this run's (see the configuration below)."};
  return table;
}

// The number that the study lacks, for every row on the same images.
void add_heatmaps(Report& report, const Experiment& e, const std::vector<ComparedRow>& rows,
                  std::int64_t per_fold, const fs::path& out, const Compute& compute) {
  Table table{"Share of heatmap energy inside the lungs, held-out images",
              {{"network", CellKind::text},
               {"view", CellKind::text},
               {"images", CellKind::integer},
               {"energy in the lungs", CellKind::percent, 1},
               {"lungs' share of the image", CellKind::percent, 1}},
              {}};
  std::vector<std::pair<const ComparedRow*, HeatFigures>> all;
  for (const ComparedRow& r : rows) {
    HeatFigures heat = heat_figures(e, *r.row, per_fold, out / "heatmaps" / r.name, compute);
    if (heat.images > 0)
      table.rows.push_back({r.model, r.view, heat.images, heat.inside, heat.area});
    all.emplace_back(&r, std::move(heat));
  }
  table.notes = {fmt::format(
      "Grad-CAM of each network's last layer with rows and columns, for {}, by the network of the "
      "fold that held the image out.",
      e.run.dataset.multilabel ? "the most probable finding" : "the predicted class")};
  report.section("Where the networks look");
  if (!table.rows.empty()) report.table(saved_table(out, "heatmaps", table));
  for (const auto& [row, heat] : all) {
    report.subsection("Heatmaps of " + row->name);
    add_heatmap_pictures(report, heat, 4);
  }
}

// Of two classes: the sections of tables, tests, curves and matrices.
std::vector<ClassifierEvaluation> report_two_classes(Report& report, const Experiment& e,
                                                     const std::vector<ComparedRow>& compared,
                                                     const fs::path& out) {
  std::vector<Row> rows;
  nlohmann::json summary;
  for (const ComparedRow& r : compared) {
    rows.push_back({r, evaluate_folds(r.folds, static_cast<std::uint64_t>(r.row->settings.seed),
                                      e.run.dataset.classes)});
    summary[r.name] = to_json(rows.back().evaluation);
  }
  save_json(out / "summary.json", summary);

  report.section("Results");
  report.table(saved_table(out, "table7", table7(rows)));
  std::vector<ModelResult> results;
  for (const Row& r : rows)
    results.push_back({r.name,
                       {image_figure(r.evaluation, "accuracy"), image_figure(r.evaluation, "f1"),
                        image_figure(r.evaluation, "auc")}});
  report.figure(saved_figure(
      out, "comparison",
      comparison_chart("All rows, 95 % intervals", {"accuracy", "F1", "AUC"}, results)));
  report.table(saved_table(out, "study", against_study(rows)));
  report.note(
      "Images of the two classes come from different collections. What a network can learn from "
      "the "
      "collection instead of the disease is not in this table: thorax audit measures it.");
  if (const auto pairs = pairs_of(compared); !pairs.empty()) {
    report.section("Is one better?");
    report.table(saved_table(out, "tests", paired_tests(pairs)));
  }
  report.section("Curves and confusion matrices");
  std::map<std::string, std::vector<ScoredSet>> by_view;
  for (const Row& r : rows) by_view[r.view].push_back(pooled_set(r.model, r.folds));
  std::vector<Figure> curves, matrices;
  for (const auto& [view, sets] : by_view)
    curves.push_back(saved_figure(out, "roc-" + view, roc_plot("ROC, " + view, sets)));
  for (const Row& r : rows) {
    BinaryCounts all;
    for (const BinaryReport& fold : r.evaluation.folds) all += fold.counts;
    matrices.push_back(saved_figure(
        out, "confusion-" + r.name,
        confusion_plot(r.name, all, e.run.dataset.classes[1], e.run.dataset.classes[0])));
  }
  report.figures(curves);
  report.figures(matrices);
  std::vector<ClassifierEvaluation> evaluations;
  for (Row& r : rows) evaluations.push_back(std::move(r.evaluation));
  return evaluations;
}

}  // namespace

std::vector<std::pair<NamedResults, NamedResults>> pairs_of(const std::vector<ComparedRow>& rows) {
  std::vector<std::pair<NamedResults, NamedResults>> pairs;
  for (std::size_t i = 0; i < rows.size(); ++i)
    for (std::size_t j = i + 1; j < rows.size(); ++j)
      if (rows[i].view == rows[j].view || rows[i].model == rows[j].model)
        pairs.push_back({{rows[i].name, &rows[i].folds}, {rows[j].name, &rows[j].folds}});
  return pairs;
}

void report_comparison(const Experiment& e, std::int64_t heatmaps, const Compute& compute) {
  const fs::path out = e.run.folder / "comparison";
  create_folders(out);
  const std::vector<std::string>& classes = e.run.dataset.classes;
  std::vector<ComparedRow> rows;
  std::set<std::string> patients;
  std::size_t images = 0;
  for (const ExperimentRow& row : e.rows)
    rows.push_back({&row, row.settings.model.at("model"), name_of(row.settings.seen()), row.name,
                    load_results(e, row)});
  for (const FoldResult& fold : rows.front().folds)
    for (const Scored& s : fold.scored) {
      patients.insert(s.patient);
      ++images;
    }
  const bool findings = e.run.dataset.multilabel, two = !findings && classes.size() == 2;
  const std::string told =
      findings ? "findings, of which an image may have several: " : "classes: ";
  Report report(
      "Comparison of classifiers",
      fmt::format("{} images of {} patients, {} folds, the same for every row; {}", images,
                  patients.size(), rows.front().folds.size(),
                  two ? fmt::format("positive class {}, negative {}", classes[1], classes[0])
                      : told + fmt::format("{}", fmt::join(classes, ", "))));
  note_views(report, e.rows.front().settings);
  std::vector<Table> fold_tables;
  if (findings)
    for (const MultilabelEvaluation& evaluation : report_compared_findings(report, e, rows, out))
      fold_tables.push_back(multilabel_folds_table(evaluation));
  else if (two)
    for (const ClassifierEvaluation& evaluation : report_two_classes(report, e, rows, out))
      fold_tables.push_back(fold_figures_table(evaluation));
  else
    for (const MulticlassEvaluation& evaluation : report_compared_classes(report, e, rows, out))
      fold_tables.push_back(multiclass_folds_table(evaluation));
  if (heatmaps > 0) add_heatmaps(report, e, rows, heatmaps, out, compute);
  report.section("Row by row");
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const ComparedRow& r = rows[i];
    report.subsection(r.name);
    Table& folds = fold_tables[i];
    save_table(folds, out / ("folds-" + r.name));
    folds.notes.clear();
    report.table(folds);
    std::vector<Figure> training;
    const std::vector<Plot> plots = training_plots(read_training_logs(e.folder(*r.row)), r.name);
    for (std::size_t k = 0; k < plots.size(); ++k)
      training.push_back(saved_figure(out, fmt::format("training-{}-{}", r.name, k), plots[k]));
    report.figures(training);
  }
  add_provenance(report, e.run.folder);
  report.write(e.run.folder / "report.html");
  fmt::print("\n{}\n{}\n", (out / "summary.json").string(),
             (e.run.folder / "report.html").string());
}

}  // namespace thorax::app
