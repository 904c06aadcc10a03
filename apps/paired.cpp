#include "apps/paired.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include "engine/stats/multiclass.h"
#include "engine/stats/multilabel.h"
#include "engine/stats/paired_tests.h"
#include "engine/stats/patients.h"

namespace thorax::app {
namespace {

using CommonImage = std::pair<const Scored*, const Scored*>;

// Images that both have judged, in the order of the first.
std::vector<CommonImage> common_images(const NamedResults& a, const NamedResults& b) {
  std::unordered_map<std::string, const Scored*> of_image;
  for (const FoldResult& fold : *b.folds)
    for (const Scored& s : fold.scored) of_image[s.image] = &s;
  std::vector<CommonImage> common;
  for (const FoldResult& fold : *a.folds)
    for (const Scored& s : fold.scored) {
      const auto found = of_image.find(s.image);
      if (found == of_image.end()) continue;
      THORAX_CHECK(found->second->label == s.label,
                   "[compare] '{}' has label {} in {} and {} in {}", s.image, s.label, a.name,
                   found->second->label, b.name);
      THORAX_CHECK(found->second->labels == s.labels,
                   "[compare] '{}' has other labels of its findings in {} than in {}", s.image,
                   a.name, b.name);
      common.emplace_back(&s, found->second);
    }
  THORAX_CHECK(!common.empty(), "[compare] {} and {} have no image in common", a.name, b.name);
  return common;
}

// One entry per patient, in the same order for both.
struct Aligned {
  std::vector<int> labels;
  std::vector<double> first, second;
};

Aligned align(const std::vector<std::string>& patients, const std::vector<int>& labels,
              const std::vector<double>& first, const std::vector<double>& second) {
  Aligned aligned;
  for (const PatientScore& p : patient_scores(patients, labels, first)) {
    aligned.labels.push_back(p.label);
    aligned.first.push_back(p.score);
  }
  for (const PatientScore& p : patient_scores(patients, labels, second))
    aligned.second.push_back(p.score);
  return aligned;
}

Aligned align(const NamedResults& a, const NamedResults& b) {
  std::vector<std::string> patients;
  std::vector<int> labels;
  std::vector<double> first, second;
  for (const auto& [x, y] : common_images(a, b)) {
    patients.push_back(x->patient);
    labels.push_back(x->label);
    first.push_back(x->score);
    second.push_back(y->score);
  }
  return align(patients, labels, first, second);
}

std::vector<int> decisions(const std::vector<double>& scores) {
  std::vector<int> result;
  for (const double s : scores) result.push_back(s >= 0.5 ? 1 : 0);
  return result;
}

// One entry per patient, sorted by name, in the same order for both.
struct AlignedClasses {
  std::vector<int> labels;
  std::vector<std::vector<double>> first, second;
  std::size_t left_out = 0;  // patients of several classes
};

AlignedClasses align_classes(const NamedResults& a, const NamedResults& b, int classes) {
  const std::vector<CommonImage> common = common_images(a, b);
  const auto count = static_cast<std::size_t>(classes);
  struct Patient {
    int label = 0;
    double images = 0;
    bool several = false;
    std::vector<double> first, second;
  };
  std::map<std::string, Patient> patients;
  for (const auto& [x, y] : common) {
    Patient& p = patients.try_emplace(x->patient).first->second;
    if (p.images == 0) {
      p.label = x->label;
      p.first.resize(count);
      p.second.resize(count);
    }
    p.several = p.several || p.label != x->label;
    for (std::size_t c = 0; c < count; ++c) {
      p.first[c] += x->probabilities.at(c);
      p.second[c] += y->probabilities.at(c);
    }
    ++p.images;
  }
  AlignedClasses aligned;
  for (auto& [name, p] : patients) {
    if (p.several) {
      ++aligned.left_out;
      continue;
    }
    for (std::vector<double>* of : {&p.first, &p.second})
      for (double& value : *of) value = std::min(1.0, value / p.images);
    aligned.labels.push_back(p.label);
    aligned.first.push_back(std::move(p.first));
    aligned.second.push_back(std::move(p.second));
  }
  THORAX_CHECK(!aligned.labels.empty(), "[compare] {} and {}: no patient has images of one class",
               a.name, b.name);
  return aligned;
}

// McNemar's test of the decisions on one finding at 0.5, on one score per patient.
struct FindingDecisions {
  std::int64_t patients = 0, both = 0;  // tested; left out for positive and negative images
  McNemar test;
};

FindingDecisions finding_decisions(const std::vector<CommonImage>& common, std::size_t finding) {
  std::map<std::string, std::set<int>> labels_of;
  for (const auto& [x, y] : common)
    if (x->labels[finding] >= 0) labels_of[x->patient].insert(x->labels[finding]);
  FindingDecisions result;
  std::vector<std::string> patients;
  std::vector<int> labels;
  std::vector<double> first, second;
  for (const auto& [x, y] : common) {
    if (x->labels[finding] < 0 || labels_of.at(x->patient).size() > 1) continue;
    patients.push_back(x->patient);
    labels.push_back(x->labels[finding]);
    first.push_back(x->probabilities[finding]);
    second.push_back(y->probabilities[finding]);
  }
  const Aligned aligned = align(patients, labels, first, second);
  result.patients = static_cast<std::int64_t>(aligned.labels.size());
  result.both = static_cast<std::int64_t>(labels_of.size()) - result.patients;
  result.test = mcnemar(aligned.labels, decisions(aligned.first), decisions(aligned.second));
  return result;
}

}  // namespace

Table multilabel_paired_tests(const std::vector<std::pair<NamedResults, NamedResults>>& pairs,
                              const std::vector<std::string>& findings) {
  Table table{"Paired tests of each finding",
              {{"first", CellKind::text},
               {"second", CellKind::text},
               {"finding", CellKind::text},
               {"images", CellKind::integer},
               {"AUC difference", CellKind::number, 4},
               {"bootstrap p", CellKind::number, 4},
               {"Holm p of the bootstrap", CellKind::number, 4},
               {"patients", CellKind::integer},
               {"only first right", CellKind::integer},
               {"only second right", CellKind::integer},
               {"McNemar p", CellKind::number, 4},
               {"Holm p of McNemar", CellKind::number, 4}},
              {}};
  const std::size_t columns = findings.size() + 1;  // the last one is macro
  std::vector<AucDifference> areas;
  std::vector<FindingDecisions> decided;
  std::vector<std::int64_t> images;
  std::vector<double> p_macro, p_area, p_mcnemar;
  int undefined = 0;
  std::int64_t both = 0;
  for (const auto& [a, b] : pairs) {
    const std::vector<CommonImage> common = common_images(a, b);
    std::vector<std::vector<std::int8_t>> labels;
    std::vector<std::vector<double>> first, second;
    std::vector<std::string> patients;
    for (const auto& [x, y] : common) {
      labels.push_back(x->labels);
      first.push_back(x->probabilities);
      second.push_back(y->probabilities);
      patients.push_back(x->patient);
    }
    const std::vector<AucDifference> tests =
        finding_auc_tests(labels, first, second, findings.size(), group_numbers(patients));
    for (std::size_t f = 0; f < columns; ++f) {
      const bool macro = f == findings.size();
      (macro ? p_macro : p_area).push_back(tests[f].p);
      undefined = std::max(undefined, tests[f].undefined);
      areas.push_back(tests[f]);
      if (macro) {
        images.push_back(static_cast<std::int64_t>(common.size()));
        continue;
      }
      images.push_back(std::count_if(common.begin(), common.end(), [&](const CommonImage& image) {
        return image.first->labels[f] >= 0;
      }));
      decided.push_back(finding_decisions(common, f));
      p_mcnemar.push_back(decided.back().test.exact_p);
      both = std::max(both, decided.back().both);
    }
  }
  const std::vector<double> holm_macro = holm(p_macro), holm_area = holm(p_area),
                            holm_mcnemar = holm(p_mcnemar);
  for (std::size_t i = 0; i < pairs.size(); ++i)
    for (std::size_t f = 0; f < columns; ++f) {
      const bool macro = f == findings.size();
      const AucDifference& d = areas[i * columns + f];
      const std::size_t at = i * findings.size() + f;  // of one finding
      std::vector<Cell> row{pairs[i].first.name,
                            pairs[i].second.name,
                            macro ? "macro" : findings[f],
                            images[i * columns + f],
                            interval_cell({d.difference, d.interval.low, d.interval.high}),
                            number_cell(d.p),
                            number_cell(macro ? holm_macro[i] : holm_area[at])};
      if (macro) {
        row.resize(table.columns.size());
      } else {
        const FindingDecisions& m = decided[at];
        for (Cell& cell :
             std::vector<Cell>{m.patients, m.test.only_first, m.test.only_second,
                               number_cell(p_mcnemar[at]), number_cell(holm_mcnemar[at])})
          row.push_back(std::move(cell));
      }
      table.rows.push_back(std::move(row));
    }
  table.notes = {
      "AUC: of the images whose label is known; macro is the mean over the findings. 95 % interval "
      "of the difference and p by 2000 resamples of the patients. McNemar: exact, of the decisions "
      "at 0.5 on one score per patient, the mean over the patient's images. Holm's correction is "
      "over all findings and pairs, of macro over the pairs. Folds share training images, so "
      "p-values are somewhat too small."};
  if (both > 0)
    table.notes.push_back(fmt::format(
        "Patients with positive and with negative images of a finding have no one label: they are "
        "in the AUC and left out of McNemar's test of it, up to {} of a finding.",
        both));
  if (undefined > 0)
    table.notes.push_back(fmt::format(
        "Up to {} of the resamples lack positive or negative images of a finding and are left out "
        "of its test and of the macro one.",
        undefined));
  return table;
}

Table multiclass_paired_tests(const std::vector<std::pair<NamedResults, NamedResults>>& pairs,
                              int classes) {
  Table table{"Paired tests, one score per patient",
              {{"first", CellKind::text},
               {"second", CellKind::text},
               {"patients", CellKind::integer},
               {"only first right", CellKind::integer},
               {"only second right", CellKind::integer},
               {"McNemar p", CellKind::number, 4},
               {"Holm p of McNemar", CellKind::number, 4},
               {"macro AUC difference", CellKind::number, 4},
               {"bootstrap p", CellKind::number, 4},
               {"Holm p of the bootstrap", CellKind::number, 4}},
              {}};
  std::vector<McNemar> mcnemars;
  std::vector<MacroAucTest> areas;
  std::vector<std::int64_t> counts;
  std::vector<double> p_mcnemar, p_area;
  std::size_t left_out = 0;
  for (const auto& [a, b] : pairs) {
    const AlignedClasses aligned = align_classes(a, b, classes);
    std::int64_t only_first = 0, only_second = 0;
    std::vector<int> groups;
    for (std::size_t i = 0; i < aligned.labels.size(); ++i) {
      const bool x = largest(aligned.first[i]) == aligned.labels[i];
      const bool y = largest(aligned.second[i]) == aligned.labels[i];
      only_first += x && !y;
      only_second += y && !x;
      groups.push_back(static_cast<int>(i));
    }
    mcnemars.push_back(mcnemar(only_first, only_second));
    areas.push_back(macro_auc_test(aligned.labels, aligned.first, aligned.second, classes, groups));
    counts.push_back(static_cast<std::int64_t>(aligned.labels.size()));
    p_mcnemar.push_back(mcnemars.back().exact_p);
    p_area.push_back(areas.back().p);
    left_out = std::max(left_out, aligned.left_out);
  }
  const std::vector<double> holm_mcnemar = holm(p_mcnemar), holm_area = holm(p_area);
  for (std::size_t i = 0; i < pairs.size(); ++i)
    table.rows.push_back(
        {pairs[i].first.name, pairs[i].second.name, counts[i], mcnemars[i].only_first,
         mcnemars[i].only_second, number_cell(p_mcnemar[i]), number_cell(holm_mcnemar[i]),
         interval_cell({areas[i].difference, areas[i].interval.low, areas[i].interval.high}),
         number_cell(p_area[i]), number_cell(holm_area[i])});
  table.notes = {
      "McNemar: exact, of the patients that are recognised, by the largest of their mean "
      "probabilities. Macro AUC: 95 % interval of the difference and p by 2000 resamples of the "
      "patients of each class. Folds share training images, so p-values are somewhat too small."};
  if (left_out > 0)
    table.notes.push_back(
        fmt::format("{} patients have images of several classes and are left out.", left_out));
  return table;
}

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
    table.rows.push_back({pairs[i].first.name, pairs[i].second.name, counts[i],
                          mcnemars[i].only_first, mcnemars[i].only_second,
                          number_cell(p_mcnemar[i]), number_cell(holm_mcnemar[i]),
                          interval_cell({d.difference, d.interval.low, d.interval.high}),
                          number_cell(p_delong[i]), number_cell(holm_delong[i])});
  }
  table.notes = {
      "McNemar: exact, of the decisions at 0.5. DeLong: of the areas, with the 95 % interval of "
      "their "
      "difference. Folds share training images, so p-values are somewhat too small."};
  return table;
}

}  // namespace thorax::app
