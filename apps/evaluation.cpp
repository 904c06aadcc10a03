#include "apps/evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "apps/report/gnuplot.h"
#include "data/csv.h"
#include "engine/io/atomic_file.h"
#include "engine/io/config.h"
#include "engine/io/json_text.h"
#include "engine/stats/curves.h"

namespace thorax::app {
namespace {

namespace fs = std::filesystem;

Cell with_interval(const thorax::Figure& f) {
  return interval_cell({f.value, f.interval.low, f.interval.high});
}

const std::vector<TableColumn>& measure_columns() {
  static const std::vector<TableColumn> columns{{"accuracy", CellKind::percent},
                                                {"sensitivity", CellKind::percent},
                                                {"specificity", CellKind::percent},
                                                {"F1", CellKind::percent},
                                                {"AUC", CellKind::percent},
                                                {"study's accuracy", CellKind::percent},
                                                {"study's specificity", CellKind::percent}};
  return columns;
}

std::vector<double> measures(const BinaryReport& r) {
  const BinaryCounts& c = r.counts;
  return {c.accuracy(), c.sensitivity(),    c.specificity(),      c.f1(),
          r.auc,        c.study_accuracy(), c.study_specificity()};
}

std::string positive_note(const ClassifierEvaluation& evaluation) {
  const std::vector<std::string>& classes = evaluation.options.classes;
  return fmt::format("Positive class: {}; negative: {}.", classes.at(1), classes.at(0));
}

}  // namespace

void add_fold_means(Table& table, const std::vector<std::vector<double>>& columns) {
  const std::size_t names = table.columns.size() - columns.size();
  std::vector<Cell> mean(names), deviation(names), count(names);
  mean[0] = "mean";
  deviation[0] = "sd";
  count[0] = "folds with a value";
  for (const std::vector<double>& column : columns) {
    const MeanDeviation m = spread(column);
    mean.push_back(number_cell(m.mean));
    deviation.push_back(number_cell(m.deviation));
    count.emplace_back(std::int64_t{m.count});
  }
  for (std::vector<Cell>* row : {&mean, &deviation, &count}) table.rows.push_back(std::move(*row));
  table.summary_rows = 3;
}

ClassifierEvaluation evaluate_folds(const std::vector<FoldResult>& folds, std::uint64_t seed,
                                    const std::vector<std::string>& classes) {
  std::vector<EvaluationRow> rows;
  for (std::size_t k = 0; k < folds.size(); ++k)
    for (const Scored& s : folds[k].scored)
      rows.push_back({s.image, s.patient, static_cast<int>(k), s.label, s.score});
  EvaluationOptions options;
  options.bootstrap.seed = seed;
  options.classes = classes;
  return evaluate_classifier(rows, options);
}

Interval image_figure(const ClassifierEvaluation& evaluation, const std::string& name) {
  for (const thorax::Figure& f : evaluation.images.figures)
    if (f.name == name && f.method == "bootstrap")
      return {f.value, f.interval.low, f.interval.high};
  const double none = std::nan("");
  return {none, none, none};
}

Table fold_figures_table(const ClassifierEvaluation& evaluation) {
  Table table{
      "Held-out images, by fold", {{"fold", CellKind::text}, {"images", CellKind::integer}}, {}};
  table.columns.insert(table.columns.end(), measure_columns().begin(), measure_columns().end());
  std::vector<std::vector<double>> columns(measure_columns().size());
  for (std::size_t k = 0; k < evaluation.folds.size(); ++k) {
    const BinaryReport& fold = evaluation.folds[k];
    std::vector<Cell> row{std::to_string(evaluation.fold_numbers[k] + 1), fold.counts.total()};
    const std::vector<double> values = measures(fold);
    for (std::size_t m = 0; m < values.size(); ++m) {
      row.push_back(number_cell(values[m]));
      columns[m].push_back(values[m]);
    }
    table.rows.push_back(std::move(row));
  }
  add_fold_means(table, columns);
  table.notes = {
      positive_note(evaluation),
      "Accuracy, sensitivity, specificity and F1 by their usual definitions at a probability of "
      "0.5.",
      "The study's printed accuracy is balanced accuracy and its specificity the negative "
      "predictive value: only so do its tables follow from its own confusion counts."};
  return table;
}

Table threshold_table(const ClassifierEvaluation& evaluation,
                      const std::vector<FoldResult>& folds) {
  Table table{"Youden's threshold, by fold",
              {{"fold", CellKind::text},
               {"images", CellKind::integer},
               {"threshold", CellKind::number, 4},
               {"sensitivity", CellKind::percent},
               {"specificity", CellKind::percent}},
              {}};
  for (std::size_t k = 0; k < folds.size(); ++k) {
    const ScoredSet set = pooled_set("", {folds[k]});
    OperatingPoint point = youden_point(set.labels, set.scores);
    // As in the checkpoint: none where no threshold is better than chance.
    if (!(point.youden() > 0)) point = {std::nan(""), std::nan(""), std::nan("")};
    table.rows.push_back({std::to_string(k + 1), static_cast<std::int64_t>(set.labels.size()),
                          number_cell(point.threshold), number_cell(point.sensitivity),
                          number_cell(point.specificity)});
  }
  table.notes = {
      positive_note(evaluation),
      "Where sensitivity + specificity is largest on the fold's held-out images, which it "
      "flatters. The "
      "fold's checkpoint carries it, and thorax predict goes by it unless --threshold is given.",
      "-: no threshold is better than chance there; the checkpoint has none, and thorax predict "
      "takes 0.5 in its place."};
  return table;
}

Table pooled_figures_table(const ClassifierEvaluation& evaluation) {
  Table table{"All folds together",
              {{"of", CellKind::text},
               {"measure", CellKind::text},
               {"value", CellKind::number, 4},
               {"interval", CellKind::text},
               {"n", CellKind::integer}},
              {}};
  const auto add = [&](const char* of, const Judgement& judgement) {
    for (const thorax::Figure& f : judgement.figures)
      table.rows.push_back({of, f.name, with_interval(f), f.method, f.n});
  };
  add("images", evaluation.images);
  if (evaluation.patients) add("patients", *evaluation.patients);
  table.notes = {
      positive_note(evaluation),
      "95 % intervals. Those by bootstrap resample whole patients; wilson, delong and wald take "
      "images for independent and are too narrow where patients have several.",
      "A patient's score is the mean over the patient's images."};
  if (evaluation.patients_in_several_folds > 0)
    table.notes.push_back(fmt::format("{} patients are in several folds: the split is by image.",
                                      evaluation.patients_in_several_folds));
  if (!evaluation.conflicts.empty())
    table.notes.push_back(fmt::format("No figures of patients: {} have images of both classes.",
                                      evaluation.conflicts.size()));
  return table;
}

Table short_figures_table(const ClassifierEvaluation& evaluation) {
  Table table{"All folds together, 95 % intervals by resampling patients",
              {{"measure", CellKind::text},
               {"images", CellKind::percent, 1},
               {"patients", CellKind::percent, 1}},
              {}};
  const auto find = [](const Judgement& judgement, const std::string& name) -> Cell {
    for (const thorax::Figure& f : judgement.figures)
      if (f.name == name && f.method == "bootstrap") return with_interval(f);
    return {};
  };
  for (const auto& [title, name] : {std::pair<const char*, const char*>{"accuracy", "accuracy"},
                                    {"sensitivity", "sensitivity"},
                                    {"specificity", "specificity"},
                                    {"F1", "f1"},
                                    {"AUC", "auc"}})
    table.rows.push_back({title, find(evaluation.images, name),
                          evaluation.patients ? find(*evaluation.patients, name) : Cell{}});
  table.notes = {positive_note(evaluation)};
  return table;
}

std::vector<ScoredSet> fold_sets(const std::vector<FoldResult>& folds) {
  std::vector<ScoredSet> sets;
  for (std::size_t k = 0; k < folds.size(); ++k)
    sets.push_back(pooled_set(fmt::format("fold {}", k + 1), {folds[k]}));
  return sets;
}

ScoredSet pooled_set(const std::string& name, const std::vector<FoldResult>& folds) {
  ScoredSet set{name, {}, {}};
  for (const FoldResult& fold : folds)
    for (const Scored& s : fold.scored) {
      set.labels.push_back(s.label);
      set.scores.push_back(s.score);
    }
  return set;
}

ExtremeFolds worst_and_best(const std::vector<double>& values) {
  std::vector<double> defined = values;
  std::erase_if(defined, [](double value) { return std::isnan(value); });
  if (defined.empty()) return {};
  const auto [low, high] = std::minmax_element(defined.begin(), defined.end());
  if (*low == *high) return {};
  ExtremeFolds folds;
  for (std::size_t k = 0; k < values.size(); ++k) {
    if (values[k] == *low) folds.worst.push_back(k);
    if (values[k] == *high) folds.best.push_back(k);
  }
  return folds;
}

std::string extreme_title(const std::string& which, const std::vector<std::size_t>& folds) {
  std::vector<std::size_t> others;
  for (std::size_t i = 1; i < folds.size(); ++i) others.push_back(folds[i] + 1);
  if (others.empty()) return fmt::format("{} fold ({})", which, folds.at(0) + 1);
  return fmt::format("{} fold ({}; as {}: {})", which, folds.at(0) + 1,
                     which == "Worst" ? "bad" : "good", fmt::join(others, ", "));
}

Figure drawn_figure(const std::function<Figure()>& draw_it) {
  try {
    return draw_it();
  } catch (const Error& error) {
    fmt::print(stderr, "note: left out of the report: {}\n", error.what());
    Figure none;
    none.missing = error.what();
    return none;
  }
}

void announce_missing_figures() {
  if (!gnuplot::problem().empty())
    fmt::print(stderr, "note: the report will have its tables and no figures: {}\n",
               gnuplot::problem());
}

Table saved_table(const fs::path& folder, const std::string& name, Table table, Print print) {
  create_folders(folder);
  save_table(table, folder / name);
  if (print == Print::yes) fmt::print("\n{}", to_text(table));
  return table;
}

void note_views(Report& report, const TrainSettings& settings) {
  if (settings.tta == "flip")
    report.note(
        "Every probability is the mean over an image and its mirror image, left and right swapped "
        "(--tta flip). Losses, temperatures and heatmaps are of the image alone.");
}

void add_provenance(Report& report, const fs::path& run) {
  if (const fs::path list = run / "unreadable.csv"; fs::exists(list)) {
    const CsvTable table = CsvTable::read(list);
    std::vector<std::string> reasons;
    for (std::int64_t row = 0; row < table.rows(); ++row)
      reasons.push_back(table.at(row, table.column("reason")));
    if (!reasons.empty()) {
      report.section("Left out");
      report.paragraph(
          fmt::format("{} images of the data could not be read and are in no figure of this report "
                      "(--on-error skip; unreadable.csv).",
                      reasons.size()));
      report.list(reasons);
    }
  }
  report.section("What made this");
  report.begin_details("config.json");
  report.code(dump_json(load_json(run / "config.json"), 2));
  report.end_details();
  // What computed it, each machine and program once. When that was and how long it took is in
  // provenance.json: a report is the same however often its run was interrupted.
  nlohmann::json machines = nlohmann::json::array();
  for (nlohmann::json start : load_json(run / "provenance.json")) {
    for (const char* key : {"time", "start", "fold_seconds", "data", "segmenter", "weights"})
      start.erase(key);
    if (std::find(machines.begin(), machines.end(), start) == machines.end())
      machines.push_back(std::move(start));
  }
  report.begin_details("provenance.json");
  report.code(dump_json(machines, 2));
  report.end_details();
}

}  // namespace thorax::app
