#include "apps/multilabel_tables.h"

#include <fmt/format.h>

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

}  // namespace thorax::app
