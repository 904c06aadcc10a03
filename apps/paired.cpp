#include "apps/paired.h"

#include <cmath>
#include <unordered_map>

#include "engine/stats/paired_tests.h"
#include "engine/stats/patients.h"

namespace thorax::app {
namespace {

// One entry per patient, in the same order for both.
struct Aligned {
  std::vector<int> labels;
  std::vector<double> first, second;
};

Aligned align(const NamedResults& a, const NamedResults& b) {
  std::unordered_map<std::string, const Scored*> of_image;
  for (const FoldResult& fold : *b.folds)
    for (const Scored& s : fold.scored) of_image[s.image] = &s;
  std::vector<std::string> patients;
  std::vector<int> labels;
  std::vector<double> first, second;
  for (const FoldResult& fold : *a.folds)
    for (const Scored& s : fold.scored) {
      const auto found = of_image.find(s.image);
      if (found == of_image.end()) continue;
      THORAX_CHECK(found->second->label == s.label,
                   "[compare] '{}' has label {} in {} and {} in {}", s.image, s.label, a.name,
                   found->second->label, b.name);
      patients.push_back(s.patient);
      labels.push_back(s.label);
      first.push_back(s.score);
      second.push_back(found->second->score);
    }
  THORAX_CHECK(!labels.empty(), "[compare] {} and {} have no image in common", a.name, b.name);
  Aligned aligned;
  for (const PatientScore& p : patient_scores(patients, labels, first)) {
    aligned.labels.push_back(p.label);
    aligned.first.push_back(p.score);
  }
  for (const PatientScore& p : patient_scores(patients, labels, second))
    aligned.second.push_back(p.score);
  return aligned;
}

std::vector<int> decisions(const std::vector<double>& scores) {
  std::vector<int> result;
  for (const double s : scores) result.push_back(s >= 0.5 ? 1 : 0);
  return result;
}

Cell cell(double value) {
  return std::isnan(value) ? Cell{} : Cell{value};
}

}  // namespace

Table paired_tests(const std::vector<std::pair<NamedResults, NamedResults>>& pairs) {
  Table table{"Paired tests, one score per patient",
              {{"first", CellKind::text},
               {"second", CellKind::text},
               {"patients", CellKind::integer},
               {"only first right", CellKind::integer},
               {"only second right", CellKind::integer},
               {"McNemar p", CellKind::number, 4},
               {"Holm p of McNemar", CellKind::number, 4},
               {"AUC difference", CellKind::number, 4},
               {"DeLong p", CellKind::number, 4},
               {"Holm p of DeLong", CellKind::number, 4}},
              {}};
  std::vector<McNemar> mcnemars;
  std::vector<DelongTest> delongs;
  std::vector<std::int64_t> counts;
  std::vector<double> p_mcnemar, p_delong;
  for (const auto& [a, b] : pairs) {
    const Aligned aligned = align(a, b);
    mcnemars.push_back(
        mcnemar(aligned.labels, decisions(aligned.first), decisions(aligned.second)));
    delongs.push_back(delong_test(aligned.labels, aligned.first, aligned.second));
    counts.push_back(static_cast<std::int64_t>(aligned.labels.size()));
    p_mcnemar.push_back(mcnemars.back().exact_p);
    p_delong.push_back(delongs.back().p);
  }
  const std::vector<double> holm_mcnemar = holm(p_mcnemar), holm_delong = holm(p_delong);
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const DelongTest& d = delongs[i];
    table.rows.push_back(
        {pairs[i].first.name, pairs[i].second.name, counts[i], mcnemars[i].only_first,
         mcnemars[i].only_second, cell(p_mcnemar[i]), cell(holm_mcnemar[i]),
         std::isnan(d.difference) ? Cell{}
                                  : Cell{Interval{d.difference, d.interval.low, d.interval.high}},
         cell(p_delong[i]), cell(holm_delong[i])});
  }
  table.notes = {
      "McNemar: exact, of the decisions at 0.5. DeLong: of the areas, with the 95 % interval of "
      "their "
      "difference. Folds share training images, so p-values are somewhat too small."};
  return table;
}

}  // namespace thorax::app
