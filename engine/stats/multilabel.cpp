#include "engine/stats/multilabel.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "engine/stats/patients.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

constexpr const char* kFigures[] = {"sensitivity", "specificity", "ppv",
                                    "f1",          "auc",         "average_precision"};
constexpr std::size_t kFigureCount = std::size(kFigures);
constexpr std::size_t kAuc = 4;  // its place among them

double ratio(double part, double whole) {
  return whole == 0 ? kUndefined : part / whole;
}

std::array<double, kFigureCount> values_of(const FindingFigures& f) {
  return {f.sensitivity, f.specificity, f.ppv, f.f1, f.auc, f.average_precision};
}

void set_values(FindingFigures& f, std::span<const double> values) {
  f.sensitivity = values[0];
  f.specificity = values[1];
  f.ppv = values[2];
  f.f1 = values[3];
  f.auc = values[4];
  f.average_precision = values[5];
}

// Known pairs of image and finding by falling probability, sorted once for all resamples.
class Ranking {
 public:
  void add(std::size_t image, bool positive, bool called, double score) {
    pairs_.push_back({image, score, positive, called});
  }
  void sort() {
    std::stable_sort(pairs_.begin(), pairs_.end(),
                     [](const Pair& a, const Pair& b) { return a.score > b.score; });
  }

  // With every image counted `copies` times.
  FindingFigures figures(Copies copies) const {
    double tp = 0, fp = 0, fn = 0, tn = 0;
    for (const Pair& p : pairs_)
      (p.positive ? (p.called ? tp : fn) : (p.called ? fp : tn)) += copies[p.image];
    const double positives = tp + fn, negatives = fp + tn;
    FindingFigures f;
    f.counts = {static_cast<std::int64_t>(tp), static_cast<std::int64_t>(fn),
                static_cast<std::int64_t>(fp), static_cast<std::int64_t>(tn)};
    f.sensitivity = ratio(tp, positives);
    f.specificity = ratio(tn, negatives);
    f.ppv = ratio(tp, tp + fp);
    f.f1 = ratio(2 * tp, 2 * tp + fp + fn);
    // Equal probabilities are one threshold: between two of them ties count half.
    double above = 0, called = 0, twice_wins = 0, precision = 0;
    for (std::size_t k = 0; k < pairs_.size();) {
      double here = 0, others = 0;
      const double score = pairs_[k].score;
      for (; k < pairs_.size() && pairs_[k].score == score; ++k)
        (pairs_[k].positive ? here : others) += copies[pairs_[k].image];
      twice_wins += others * (2 * above + here);
      above += here;
      called += here + others;
      if (here > 0) precision += here * (above / called);
    }
    f.auc = ratio(twice_wins, 2 * positives * negatives);
    f.average_precision = ratio(precision, positives);
    return f;
  }

 private:
  struct Pair {
    std::size_t image;
    double score;
    bool positive, called;
  };
  std::vector<Pair> pairs_;
};

// All figures: kFigures of every finding, then macro, then micro.
class Figures {
 public:
  Figures(std::span<const std::vector<std::int8_t>> labels,
          std::span<const std::vector<double>> probabilities, std::size_t findings,
          std::span<const double> thresholds)
      : images_(labels.size()), findings_(findings), unknown_(findings) {
    THORAX_CHECK(findings > 0, "[stats] no findings");
    THORAX_CHECK(labels.size() == probabilities.size(), "[stats] {} labels and {} predictions",
                 labels.size(), probabilities.size());
    THORAX_CHECK(thresholds.empty() || thresholds.size() == findings,
                 "[stats] {} thresholds for {} findings", thresholds.size(), findings);
    for (std::size_t i = 0; i < labels.size(); ++i) {
      THORAX_CHECK(labels[i].size() == findings && probabilities[i].size() == findings,
                   "[stats] sample {} has {} labels and {} probabilities for {} findings", i,
                   labels[i].size(), probabilities[i].size(), findings);
      for (std::size_t f = 0; f < findings; ++f) {
        const int label = labels[i][f];
        const double p = probabilities[i][f];
        THORAX_CHECK(label >= -1 && label <= 1,
                     "[stats] label {} of sample {}: must be 1, 0 or -1 (not known)", label, i);
        THORAX_CHECK(p >= 0 && p <= 1, "[stats] probability {} of sample {} is not in [0, 1]", p,
                     i);
        if (label < 0) {
          ++unknown_[f];
          continue;
        }
        const bool called = p >= (thresholds.empty() ? 0.5 : thresholds[f]);
        findings_[f].add(i, label == 1, called, p);
        micro_.add(i, label == 1, called, p);
      }
    }
    for (Ranking& ranking : findings_) ranking.sort();
    micro_.sort();
  }

  std::size_t count() const { return (findings_.size() + 2) * kFigureCount; }

  void operator()(Copies copies, std::span<double> values) const {
    std::array<double, kFigureCount> sums{};
    std::size_t at = 0;
    const auto put = [&](const std::array<double, kFigureCount>& these) {
      for (const double value : these) values[at++] = value;
    };
    for (const Ranking& ranking : findings_) {
      const auto these = values_of(ranking.figures(copies));
      // NaN when one of them is: a mean over the rest would be of other findings.
      for (std::size_t k = 0; k < kFigureCount; ++k) sums[k] += these[k];
      put(these);
    }
    for (double& sum : sums) sum /= static_cast<double>(findings_.size());
    put(sums);
    put(values_of(micro_.figures(copies)));
  }

  MultilabelReport report() const {
    const std::vector<int> once(images_, 1);
    MultilabelReport r;
    for (std::size_t f = 0; f < findings_.size(); ++f) {
      r.findings.push_back(findings_[f].figures(once));
      r.findings.back().unknown = unknown_[f];
    }
    r.micro = micro_.figures(once);
    r.micro.unknown = std::accumulate(unknown_.begin(), unknown_.end(), std::int64_t{0});
    std::vector<double> values(count());
    (*this)(once, values);
    set_values(r.macro, std::span(values).subspan(findings_.size() * kFigureCount, kFigureCount));
    return r;
  }

 private:
  std::size_t images_;
  std::vector<Ranking> findings_;
  Ranking micro_;
  std::vector<std::int64_t> unknown_;
};

nlohmann::json to_json(const FindingFigures& f, bool counts) {
  nlohmann::json json = nlohmann::json::object();
  if (counts)
    json = {{"positive", f.positive()}, {"negative", f.negative()}, {"unknown", f.unknown},
            {"tp", f.counts.tp},        {"fn", f.counts.fn},        {"fp", f.counts.fp},
            {"tn", f.counts.tn}};
  const auto values = values_of(f);
  for (std::size_t k = 0; k < kFigureCount; ++k) json[kFigures[k]] = json_number(values[k]);
  return json;
}

}  // namespace

MultilabelReport multilabel_report(std::span<const std::vector<std::int8_t>> labels,
                                   std::span<const std::vector<double>> probabilities,
                                   std::size_t findings, std::span<const double> thresholds) {
  return Figures(labels, probabilities, findings, thresholds).report();
}

KnownScores known_scores(std::span<const std::vector<std::int8_t>> labels,
                         std::span<const std::vector<double>> probabilities, std::size_t finding) {
  KnownScores known;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i].at(finding) < 0) continue;
    known.labels.push_back(labels[i][finding]);
    known.scores.push_back(probabilities[i].at(finding));
  }
  return known;
}

MultilabelEvaluation evaluate_multilabel(std::span<const MultilabelRow> rows,
                                         const std::vector<std::string>& findings,
                                         const BootstrapOptions& bootstrap) {
  THORAX_CHECK(!rows.empty(), "[stats] evaluation of no images");
  // In the order of the images' names, so that sums round alike whatever order they came in.
  std::vector<const MultilabelRow*> sorted;
  for (const MultilabelRow& row : rows) sorted.push_back(&row);
  std::sort(sorted.begin(), sorted.end(), [](auto* a, auto* b) { return a->image < b->image; });
  struct Samples {
    std::vector<std::vector<std::int8_t>> labels;
    std::vector<std::vector<double>> probabilities;
  };
  Samples all;
  std::map<int, Samples> folds;
  std::vector<std::string> patients;
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    const MultilabelRow& row = *sorted[i];
    THORAX_CHECK(i == 0 || row.image != sorted[i - 1]->image, "[stats] image {} is there twice",
                 row.image);
    for (Samples* samples : {&all, &folds[row.fold]}) {
      samples->labels.push_back(row.labels);
      samples->probabilities.push_back(row.probabilities);
    }
    patients.push_back(row.patient);
  }
  MultilabelEvaluation e;
  e.findings = findings;
  e.bootstrap = bootstrap;
  e.image_count = static_cast<std::int64_t>(rows.size());
  e.patient_count = static_cast<std::int64_t>(std::set(patients.begin(), patients.end()).size());
  for (const auto& [number, samples] : folds) {
    e.fold_numbers.push_back(number);
    e.folds.push_back(multilabel_report(samples.labels, samples.probabilities, findings.size()));
  }
  const Figures figures(all.labels, all.probabilities, findings.size(), {});
  e.all = figures.report();
  std::vector<double> values(figures.count());
  figures(std::vector<int>(all.labels.size(), 1), values);
  const auto intervals =
      group_bootstrap(group_numbers(patients), bootstrap, values.size(), std::cref(figures));
  std::size_t at = 0;
  const auto add = [&](int finding) {
    for (const char* name : kFigures) {
      e.figures.push_back(
          {name, finding, values[at], intervals[at].interval, intervals[at].undefined});
      ++at;
    }
  };
  for (std::size_t f = 0; f < findings.size(); ++f) add(static_cast<int>(f));
  add(MultilabelFigure::kMacro);
  add(MultilabelFigure::kMicro);
  return e;
}

std::vector<AucDifference> finding_auc_tests(std::span<const std::vector<std::int8_t>> labels,
                                             std::span<const std::vector<double>> first,
                                             std::span<const std::vector<double>> second,
                                             std::size_t findings, std::span<const int> groups,
                                             const BootstrapOptions& bootstrap) {
  const Figures a(labels, first, findings, {}), b(labels, second, findings, {});
  // Of every finding, then macro, which follows them in Figures.
  const std::size_t areas = findings + 1;
  const auto differences = [&](Copies copies, std::span<double> values) {
    std::vector<double> x(a.count()), y(b.count());
    a(copies, x);
    b(copies, y);
    for (std::size_t k = 0; k < areas; ++k)
      values[k] = x[k * kFigureCount + kAuc] - y[k * kFigureCount + kAuc];
  };
  const std::vector<int> once(labels.size(), 1);
  std::vector<double> x(a.count()), y(b.count());
  a(once, x);
  b(once, y);
  const std::vector<BootstrapInterval> drawn =
      group_bootstrap(groups, bootstrap, areas, differences);
  std::vector<AucDifference> results(areas);
  for (std::size_t k = 0; k < areas; ++k) {
    AucDifference& r = results[k];
    r.first = x[k * kFigureCount + kAuc];
    r.second = y[k * kFigureCount + kAuc];
    r.difference = r.first - r.second;
    r.undefined = drawn[k].undefined;
    if (std::isnan(r.difference)) continue;
    r.interval = drawn[k].interval;
    r.standard_error = drawn[k].standard_error;
    if (!(r.standard_error > 0)) continue;
    r.z = r.difference / r.standard_error;
    r.p = normal_two_sided_p(r.z);
  }
  return results;
}

nlohmann::json to_json(const MultilabelReport& report, const std::vector<std::string>& findings) {
  nlohmann::json json = {{"macro", to_json(report.macro, false)},
                         {"micro", to_json(report.micro, true)}};
  for (std::size_t f = 0; f < report.findings.size(); ++f) {
    nlohmann::json row = to_json(report.findings[f], true);
    row["finding"] = findings.at(f);
    json["findings"].push_back(std::move(row));
  }
  return json;
}

nlohmann::json to_json(const MultilabelEvaluation& e) {
  nlohmann::json json = {{"findings", e.findings},
                         {"image_count", e.image_count},
                         {"patient_count", e.patient_count},
                         {"options",
                          {{"level", e.bootstrap.level},
                           {"resamples", e.bootstrap.resamples},
                           {"seed", e.bootstrap.seed}}},
                         {"all", to_json(e.all, e.findings)}};
  for (std::size_t k = 0; k < e.folds.size(); ++k) {
    nlohmann::json fold = to_json(e.folds[k], e.findings);
    fold["fold"] = e.fold_numbers[k];
    json["folds"].push_back(std::move(fold));
  }
  for (const MultilabelFigure& f : e.figures)
    json["figures"].push_back(
        {{"name", f.name},
         {"of", f.finding == MultilabelFigure::kMacro   ? "macro"
                : f.finding == MultilabelFigure::kMicro ? "micro"
                                                        : "finding"},
         {"finding", f.finding < 0
                         ? nlohmann::json(nullptr)
                         : nlohmann::json(e.findings.at(static_cast<std::size_t>(f.finding)))},
         {"value", json_number(f.value)},
         {"low", json_number(f.interval.low)},
         {"high", json_number(f.interval.high)},
         {"undefined_resamples", f.undefined}});
  return json;
}

}  // namespace thorax
