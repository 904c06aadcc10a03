#include "apps/multilabel_tables.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>

#include "apps/evaluation.h"
#include "apps/findings.h"

namespace thorax::app {

MultilabelEvaluation evaluate_multilabel_folds(const std::vector<FoldResult>& folds,
                                               std::uint64_t seed,
                                               const std::vector<std::string>& findings) {
  std::vector<MultilabelRow> rows;
  for (std::size_t k = 0; k < folds.size(); ++k)
    for (const Scored& s : folds[k].scored)
      rows.push_back({s.image, s.patient, static_cast<int>(k), s.labels, s.probabilities});
  BootstrapOptions options;
  options.seed = seed;
  return evaluate_multilabel(rows, findings, options);
}

Table multilabel_folds_table(const MultilabelEvaluation& e) {
  Table table{"Held-out images, by fold",
              {{"fold", CellKind::text},
               {"images", CellKind::integer},
               {"macro AUC", CellKind::percent},
               {"macro average precision", CellKind::percent},
               {"macro F1", CellKind::percent},
               {"micro AUC", CellKind::percent},
               {"micro average precision", CellKind::percent},
               {"micro F1", CellKind::percent}},
              {}};
  std::vector<std::vector<double>> columns(6);
  for (std::size_t k = 0; k < e.folds.size(); ++k) {
    const MultilabelReport& r = e.folds[k];
    const FindingFigures& first = r.findings.front();
    std::vector<Cell> row{std::to_string(e.fold_numbers[k] + 1),
                          first.counts.total() + first.unknown};
    const std::vector<double> values{r.macro.auc, r.macro.average_precision, r.macro.f1,
                                     r.micro.auc, r.micro.average_precision, r.micro.f1};
    for (std::size_t m = 0; m < values.size(); ++m) {
      row.emplace_back(values[m]);
      columns[m].push_back(values[m]);
    }
    table.rows.push_back(std::move(row));
  }
  add_fold_means(table, columns);
  table.notes = {
      "F1 at a probability of 0.5. A macro figure is missing where the fold lacks positive or "
      "negative images of a finding; the table by finding says which."};
  return table;
}

Interval multilabel_figure(const MultilabelEvaluation& evaluation, const std::string& name,
                           int finding) {
  for (const MultilabelFigure& f : evaluation.figures)
    if (f.name == name && f.finding == finding) return {f.value, f.interval.low, f.interval.high};
  fail("[stats] no figure '{}' of {} findings", name, evaluation.findings.size());
}

ScoredSet finding_set(const std::string& name, const std::vector<FoldResult>& folds,
                      std::size_t finding) {
  ScoredSet set{name, {}, {}};
  for (const FoldResult& fold : folds) {
    const FindingScores all = finding_scores(fold.scored);
    const KnownScores known = known_scores(all.labels, all.probabilities, finding);
    set.labels.insert(set.labels.end(), known.labels.begin(), known.labels.end());
    set.scores.insert(set.scores.end(), known.scores.begin(), known.scores.end());
  }
  return set;
}

std::vector<FindingCalibration> finding_calibrations(const std::vector<FoldResult>& folds,
                                                     std::size_t findings) {
  std::vector<FindingCalibration> result;
  for (std::size_t f = 0; f < findings; ++f) {
    const ScoredSet set = finding_set("", folds, f);
    result.push_back({calibration_error(reliability_bins(set.labels, set.scores)),
                      brier_score(set.labels, set.scores), log_loss(set.labels, set.scores),
                      calibration_fit(set.labels, set.scores)});
  }
  return result;
}

namespace {

constexpr std::array<const char*, 6> kCalibrationFigures{
    "expected calibration error", "largest error of a part", "Brier score", "log loss", "slope",
    "calibration in the large"};

std::array<double, 6> values_of(const FindingCalibration& c) {
  return {c.error.expected, c.error.largest, c.brier, c.log_loss, c.fit.slope, c.fit.in_the_large};
}

// NaN where one of the findings' is.
std::array<double, 6> macro_of(const std::vector<FindingCalibration>& calibrations) {
  std::array<double, 6> mean{};
  for (const FindingCalibration& c : calibrations)
    for (std::size_t k = 0; k < mean.size(); ++k)
      mean[k] += values_of(c)[k] / static_cast<double>(calibrations.size());
  return mean;
}

}  // namespace

Table finding_calibration_table(const std::vector<FindingCalibration>& calibrations,
                                const std::vector<std::string>& findings) {
  Table table{
      "Calibration of the probabilities, all folds together", {{"finding", CellKind::text}}, {}};
  for (const char* name : kCalibrationFigures) table.columns.push_back({name, CellKind::number, 3});
  const auto add = [&](const std::string& name, const std::array<double, 6>& values) {
    std::vector<Cell> row{name};
    for (const double value : values) row.push_back(number_cell(value));
    table.rows.push_back(std::move(row));
  };
  for (std::size_t f = 0; f < findings.size(); ++f) add(findings[f], values_of(calibrations[f]));
  add("macro", macro_of(calibrations));
  table.summary_rows = 1;
  table.notes = {
      "Of the images whose label is known. Errors: the probability against the share of images "
      "with "
      "the finding, in 10 parts of 0 to 1. Slope (1 is perfect; below, probabilities are too "
      "extreme) and calibration in the large (0 is perfect; above, they are too low) by logistic "
      "regression on the logit (Cox 1958). Macro: means over the findings, where all have a "
      "value."};
  return table;
}

nlohmann::json to_json(const std::vector<FindingCalibration>& calibrations,
                       const std::vector<std::string>& findings) {
  nlohmann::json json = nlohmann::json::array();
  for (std::size_t f = 0; f < findings.size(); ++f) {
    const FindingCalibration& c = calibrations[f];
    json.push_back({{"finding", findings[f]},
                    {"expected_calibration_error", json_number(c.error.expected)},
                    {"largest_calibration_error", json_number(c.error.largest)},
                    {"brier", json_number(c.brier)},
                    {"log_loss", json_number(c.log_loss)},
                    {"slope", json_number(c.fit.slope)},
                    {"intercept", json_number(c.fit.intercept)},
                    {"in_the_large", json_number(c.fit.in_the_large)}});
  }
  return json;
}

}  // namespace thorax::app
