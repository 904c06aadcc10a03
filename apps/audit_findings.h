// What an audit says of each finding by itself, where images have several.
#pragma once

#include <string>
#include <vector>

#include "apps/report/audit_verdict.h"
#include "apps/report/table.h"
#include "apps/training.h"
#include "engine/stats/multilabel.h"

namespace thorax::app {

// The AUC of a finding, by name; NaN where it was not judged.
AucFigure finding_auc(const MultilabelEvaluation& evaluation, const std::string& finding);

// The findings of which some image is known to have it and some not to have it; the others cannot
// be judged. `folds` with these only: labels and probabilities in the order of `names`.
std::vector<std::string> judged_findings(const std::vector<FoldResult>& folds,
                                         const std::vector<std::string>& findings);
std::vector<FoldResult> only_findings(const std::vector<FoldResult>& folds,
                                      const std::vector<std::string>& findings,
                                      const std::vector<std::string>& names);

// Which findings a control tells: a row per headline or control, a column per finding.
struct NamedEvaluation {
  std::string name;
  const MultilabelEvaluation* evaluation;
};
Table controls_by_finding_table(const std::vector<NamedEvaluation>& rows,
                                const std::vector<std::string>& findings);

// The verdict (audit_verdict) of each finding by its own AUCs: a row for each. facts[f] is of
// findings[f]: headline and controls; what is of the whole run is not looked at.
Table verdicts_by_finding_table(const std::vector<AuditFacts>& facts,
                                const std::vector<std::string>& findings);

}  // namespace thorax::app
