#include "apps/audit_findings.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "apps/multilabel_tables.h"

namespace thorax::app {

AucFigure finding_auc(const MultilabelEvaluation& e, const std::string& finding) {
  const auto found = std::find(e.findings.begin(), e.findings.end(), finding);
  if (found == e.findings.end()) return {std::nan(""), std::nan(""), std::nan("")};
  const Interval auc = multilabel_figure(e, "auc", static_cast<int>(found - e.findings.begin()));
  return {auc.value, auc.low, auc.high};
}

std::vector<std::string> judged_findings(const std::vector<FoldResult>& folds,
                                         const std::vector<std::string>& findings) {
  std::vector<std::string> names;
  for (std::size_t f = 0; f < findings.size(); ++f) {
    bool with = false, without = false;
    for (const FoldResult& fold : folds)
      for (const Scored& s : fold.scored) {
        with = with || s.labels[f] == 1;
        without = without || s.labels[f] == 0;
      }
    if (with && without) names.push_back(findings[f]);
  }
  return names;
}

std::vector<FoldResult> only_findings(const std::vector<FoldResult>& folds,
                                      const std::vector<std::string>& findings,
                                      const std::vector<std::string>& names) {
  std::vector<FoldResult> result = folds;
  for (FoldResult& fold : result)
    for (Scored& s : fold.scored) {
      std::vector<std::int8_t> labels;
      std::vector<double> probabilities;
      for (std::size_t f = 0; f < findings.size(); ++f) {
        if (std::find(names.begin(), names.end(), findings[f]) == names.end()) continue;
        labels.push_back(s.labels[f]);
        probabilities.push_back(s.probabilities[f]);
      }
      s.labels = std::move(labels);
      s.probabilities = std::move(probabilities);
    }
  return result;
}

Table controls_by_finding_table(const std::vector<NamedEvaluation>& rows,
                                const std::vector<std::string>& findings) {
  Table table{
      "AUC of each finding, 95 % intervals", {{"what the network is given", CellKind::text}}, {}};
  for (const std::string& name : findings)
    table.columns.push_back({"of " + name, CellKind::percent, 1});
  for (const NamedEvaluation& row : rows) {
    std::vector<Cell> cells{row.name};
    for (const std::string& name : findings) {
      const AucFigure auc = finding_auc(*row.evaluation, name);
      cells.push_back(interval_cell({auc.auc, auc.low, auc.high}));
    }
    table.rows.push_back(std::move(cells));
  }
  return table;
}

Table verdicts_by_finding_table(const std::vector<AuditFacts>& facts,
                                const std::vector<std::string>& findings) {
  Table table{"Every finding by itself",
              {{"finding", CellKind::text},
               {"AUC of the headline", CellKind::percent, 1},
               {"best control that cannot show it", CellKind::text},
               {"its AUC", CellKind::percent, 1},
               {"its share above chance", CellKind::percent, 0},
               {"verdict", CellKind::text}},
              {}};
  for (std::size_t f = 0; f < findings.size(); ++f) {
    const AucFigure& headline = facts[f].headline;
    const Control* best = nullptr;
    for (const Control& c : facts[f].controls)
      if (c.kind == ControlKind::confounder && !std::isnan(c.figure.auc) &&
          (best == nullptr || c.figure.auc > best->figure.auc))
        best = &c;
    std::vector<Cell> cells{findings[f],
                            interval_cell({headline.auc, headline.low, headline.high})};
    if (best == nullptr) {
      cells.resize(5);
    } else {
      cells.emplace_back(best->name);
      cells.push_back(interval_cell({best->figure.auc, best->figure.low, best->figure.high}));
      cells.push_back(headline.auc > 0.5 ? Cell{share_explained(headline, best->figure)} : Cell{});
    }
    std::string verdict = audit_verdict(facts[f]).back().text;
    const std::string title = "Verdict: ";
    if (verdict.starts_with(title)) verdict.erase(0, title.size());
    cells.emplace_back(verdict);
    table.rows.push_back(std::move(cells));
  }
  table.notes = {
      "By the rules of the verdict above, on the AUC of the finding alone. Of many findings one in "
      "twenty is expected to have random labels outside of chance by chance alone."};
  return table;
}

}  // namespace thorax::app
