#include "apps/multiclass_tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "apps/evaluation.h"

namespace thorax::app {

MulticlassEvaluation evaluate_multiclass_folds(const std::vector<FoldResult>& folds,
                                               std::uint64_t seed,
                                               const std::vector<std::string>& classes) {
  std::vector<MulticlassRow> rows;
  for (std::size_t k = 0; k < folds.size(); ++k)
    for (const Scored& s : folds[k].scored)
      rows.push_back({s.image, s.patient, static_cast<int>(k), s.label, s.probabilities});
  BootstrapOptions options;
  options.seed = seed;
  return evaluate_multiclass(rows, classes, options);
}

std::string measure_name(const std::string& name) {
  if (name == "macro_f1") return "macro F1";
  if (name == "macro_auc") return "macro AUC";
  if (name == "f1" || name == "auc" || name == "ppv") {
    std::string upper = name;
    for (char& c : upper) c = static_cast<char>(std::toupper(c));
    return upper;
  }
  std::string text = name;
  std::replace(text.begin(), text.end(), '_', ' ');
  return text;
}

Interval multiclass_figure(const MulticlassEvaluation& evaluation, const std::string& name,
                           int cls) {
  for (const MulticlassFigure& f : evaluation.figures)
    if (f.name == name && f.cls == cls) return {f.value, f.interval.low, f.interval.high};
  fail("[stats] no figure '{}' of {} classes", name, evaluation.classes.size());
}

Table multiclass_folds_table(const MulticlassEvaluation& e) {
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
      row.push_back(number_cell(values[m]));
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

Table multiclass_classes_table(const MulticlassEvaluation& e) {
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
    for (const char* name : {"sensitivity", "specificity", "ppv", "f1", "auc"})
      row.push_back(interval_cell(multiclass_figure(e, name, static_cast<int>(c))));
    table.rows.push_back(std::move(row));
  }
  return table;
}

Table multiclass_overall_table(const MulticlassEvaluation& e) {
  Table table{"All folds together, 95 % intervals by resampling patients",
              {{"measure", CellKind::text}, {"value", CellKind::percent, 1}},
              {}};
  for (const MulticlassFigure& f : e.figures)
    if (f.cls < 0)
      table.rows.push_back({measure_name(f.name), interval_cell(multiclass_figure(e, f.name))});
  return table;
}

MulticlassCalibration calibration_of(const std::vector<FoldResult>& folds, std::size_t classes) {
  std::vector<int> labels;
  std::vector<std::vector<double>> probabilities;
  for (const FoldResult& fold : folds)
    for (const Scored& s : fold.scored) {
      labels.push_back(s.label);
      probabilities.push_back(s.probabilities);
    }
  return multiclass_calibration(labels, probabilities, static_cast<int>(classes));
}

Table calibration_table(const MulticlassCalibration& c, const std::vector<std::string>& classes) {
  Table table{"Calibration of the probabilities, all folds together",
              {{"of", CellKind::text},
               {"expected calibration error", CellKind::number, 3},
               {"largest error of a part", CellKind::number, 3},
               {"Brier score", CellKind::number, 3},
               {"log loss", CellKind::number, 3}},
              {}};
  table.rows.push_back({"predicted class (top label)", number_cell(c.top_label.expected),
                        number_cell(c.top_label.largest), Cell{}, Cell{}});
  for (std::size_t k = 0; k < classes.size(); ++k)
    table.rows.push_back({classes[k], number_cell(c.classes[k].expected),
                          number_cell(c.classes[k].largest), Cell{}, Cell{}});
  table.rows.push_back({"all classes", number_cell(c.class_wise), Cell{}, number_cell(c.brier),
                        number_cell(c.log_loss)});
  table.summary_rows = 1;
  table.notes = {
      "Top label: the largest probability against the share of images that are recognised (Guo et "
      "al. 2017). A class: its probability against the share of images of that class, and the mean "
      "over the classes (Kull et al. 2019). In 10 parts of 0 to 1. The Brier score is summed over "
      "the classes: 0 to 2."};
  return table;
}

Plot top_label_plot(const std::string& title, const std::vector<FoldResult>& folds) {
  ScoredSet set{"predicted class", {}, {}};
  for (const FoldResult& fold : folds)
    for (const Scored& s : fold.scored) {
      const int predicted = largest(s.probabilities);
      set.labels.push_back(predicted == s.label ? 1 : 0);
      set.scores.push_back(s.probabilities[static_cast<std::size_t>(predicted)]);
    }
  Plot plot = reliability_plot(title, set);
  plot.x.label = "probability of the predicted class";
  for (Series& series : plot.series)
    if (series.style == SeriesStyle::line_points) series.name = "share that is right";
  // That of the reliability plot has the Brier score of the decision, which is not the classes'.
  plot.caption = fmt::format("{} images.", set.scores.size());
  return plot;
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

ScoredSet class_set(const std::string& name, const std::vector<FoldResult>& folds,
                    std::size_t cls) {
  ScoredSet set{name, {}, {}};
  for (const FoldResult& fold : folds)
    for (const Scored& s : fold.scored) {
      set.labels.push_back(s.label == static_cast<int>(cls) ? 1 : 0);
      set.scores.push_back(s.probabilities[cls]);
    }
  return set;
}

std::vector<ScoredSet> one_against_rest(const std::vector<FoldResult>& folds,
                                        const std::vector<std::string>& classes) {
  std::vector<ScoredSet> sets;
  for (std::size_t c = 0; c < classes.size(); ++c) sets.push_back(class_set(classes[c], folds, c));
  return sets;
}

}  // namespace thorax::app
