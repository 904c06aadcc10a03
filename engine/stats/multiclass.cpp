#include "engine/stats/multiclass.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "engine/stats/patients.h"
#include "engine/tensor/error.h"

namespace thorax {
namespace {

constexpr const char* kOverall[] = {"accuracy", "balanced_accuracy", "macro_f1", "macro_auc"};
constexpr const char* kOfClass[] = {"sensitivity", "specificity", "ppv", "f1", "auc"};

double ratio(double part, double whole) {
  return whole == 0 ? kUndefined : part / whole;
}

// NaN when one of them is: a mean over the rest would be of other classes.
double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

std::vector<double> values_of(const ClassFigures& c) {
  return {c.sensitivity, c.specificity, c.ppv, c.f1, c.auc};
}

// All figures with every sample counted `copies` times, in the order of kOverall and, for each
// class, kOfClass. Sorts the probabilities of every class once for all resamples.
class Figures {
 public:
  Figures(std::span<const int> labels, std::span<const std::vector<double>> probabilities,
          int classes)
      : labels_(labels), classes_(static_cast<std::size_t>(classes)) {
    THORAX_CHECK(labels.size() == probabilities.size(), "[stats] {} labels and {} predictions",
                 labels.size(), probabilities.size());
    for (std::size_t i = 0; i < labels.size(); ++i) {
      THORAX_CHECK(labels[i] >= 0 && labels[i] < classes,
                   "[stats] label {} of sample {}: there are {} classes", labels[i], i, classes);
      THORAX_CHECK(probabilities[i].size() == classes_,
                   "[stats] sample {} has {} probabilities for {} classes", i,
                   probabilities[i].size(), classes);
      for (const double p : probabilities[i])
        THORAX_CHECK(p >= 0 && p <= 1, "[stats] probability {} of sample {} is not in [0, 1]", p,
                     i);
      predicted_.push_back(largest(probabilities[i]));
    }
    for (std::size_t c = 0; c < classes_; ++c) {
      std::vector<std::size_t> order(labels.size());
      std::iota(order.begin(), order.end(), std::size_t{0});
      std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        return probabilities[a][c] > probabilities[b][c];
      });
      // Where the next probability begins: ties count half.
      std::vector<std::size_t> ends;
      for (std::size_t k = 0; k < order.size(); ++k)
        if (k + 1 == order.size() || probabilities[order[k]][c] != probabilities[order[k + 1]][c])
          ends.push_back(k + 1);
      orders_.push_back(std::move(order));
      ends_.push_back(std::move(ends));
    }
  }

  std::size_t count() const { return std::size(kOverall) + classes_ * std::size(kOfClass); }

  ClassFigures of_class(std::size_t c, Copies copies) const {
    const int cls = static_cast<int>(c);
    double n = 0, actual = 0, called = 0, both = 0;
    for (std::size_t i = 0; i < copies.size(); ++i) {
      n += copies[i];
      if (labels_[i] == cls) actual += copies[i];
      if (predicted_[i] == cls) called += copies[i];
      if (labels_[i] == cls && predicted_[i] == cls) both += copies[i];
    }
    ClassFigures f;
    f.images = static_cast<std::int64_t>(actual);
    f.sensitivity = ratio(both, actual);
    f.specificity = ratio(n - actual - called + both, n - actual);
    f.ppv = ratio(both, called);
    f.f1 = ratio(2 * both, actual + called);
    double above = 0, twice_wins = 0;
    std::size_t k = 0;
    for (const std::size_t end : ends_[c]) {
      double here = 0, others = 0;
      for (; k < end; ++k) {
        const std::size_t i = orders_[c][k];
        (labels_[i] == cls ? here : others) += copies[i];
      }
      twice_wins += others * (2 * above + here);
      above += here;
    }
    f.auc = ratio(twice_wins, 2 * actual * (n - actual));
    return f;
  }

  void operator()(Copies copies, std::span<double> values) const {
    double n = 0, right = 0;
    for (std::size_t i = 0; i < copies.size(); ++i) {
      n += copies[i];
      if (labels_[i] == predicted_[i]) right += copies[i];
    }
    std::vector<double> sensitivities, f1s, aucs;
    std::size_t at = std::size(kOverall);
    for (std::size_t c = 0; c < classes_; ++c) {
      const ClassFigures f = of_class(c, copies);
      for (const double value : values_of(f)) values[at++] = value;
      sensitivities.push_back(f.sensitivity);
      f1s.push_back(f.f1);
      aucs.push_back(f.auc);
    }
    values[0] = ratio(right, n);
    values[1] = mean(sensitivities);
    values[2] = mean(f1s);
    values[3] = mean(aucs);
  }

  double macro_auc(Copies copies) const {
    std::vector<double> aucs;
    for (std::size_t c = 0; c < classes_; ++c) aucs.push_back(of_class(c, copies).auc);
    return mean(aucs);
  }

  MulticlassReport report() const {
    const std::vector<int> once(labels_.size(), 1);
    MulticlassReport r;
    r.confusion = ConfusionMatrix(static_cast<int>(classes_));
    for (std::size_t i = 0; i < labels_.size(); ++i) r.confusion.add(labels_[i], predicted_[i]);
    for (std::size_t c = 0; c < classes_; ++c) r.classes.push_back(of_class(c, once));
    std::vector<double> values(count());
    (*this)(once, values);
    r.accuracy = values[0];
    r.balanced_accuracy = values[1];
    r.macro_f1 = values[2];
    r.macro_auc = values[3];
    return r;
  }

 private:
  std::span<const int> labels_;
  std::size_t classes_;
  std::vector<int> predicted_;
  std::vector<std::vector<std::size_t>> orders_, ends_;  // by class
};

nlohmann::json number(double value) {
  return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(nullptr);
}

}  // namespace

int largest(std::span<const double> probabilities) {
  return static_cast<int>(std::max_element(probabilities.begin(), probabilities.end()) -
                          probabilities.begin());
}

MulticlassReport multiclass_report(std::span<const int> labels,
                                   std::span<const std::vector<double>> probabilities,
                                   int classes) {
  return Figures(labels, probabilities, classes).report();
}

MulticlassEvaluation evaluate_multiclass(std::span<const MulticlassRow> rows,
                                         const std::vector<std::string>& classes,
                                         const BootstrapOptions& bootstrap) {
  THORAX_CHECK(!rows.empty(), "[stats] evaluation of no images");
  THORAX_CHECK(classes.size() >= 3, "[stats] {} classes; three or more are wanted", classes.size());
  const int count = static_cast<int>(classes.size());
  // In the order of the images' names, so that sums round alike whatever order they came in.
  std::vector<const MulticlassRow*> sorted;
  for (const MulticlassRow& row : rows) sorted.push_back(&row);
  std::sort(sorted.begin(), sorted.end(), [](auto* a, auto* b) { return a->image < b->image; });
  struct Samples {
    std::vector<int> labels;
    std::vector<std::vector<double>> probabilities;
  };
  Samples all;
  std::map<int, Samples> folds;
  std::vector<std::string> patients;
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    const MulticlassRow& row = *sorted[i];
    THORAX_CHECK(i == 0 || row.image != sorted[i - 1]->image, "[stats] image {} is there twice",
                 row.image);
    for (Samples* samples : {&all, &folds[row.fold]}) {
      samples->labels.push_back(row.label);
      samples->probabilities.push_back(row.probabilities);
    }
    patients.push_back(row.patient);
  }
  MulticlassEvaluation e;
  e.classes = classes;
  e.bootstrap = bootstrap;
  e.image_count = static_cast<std::int64_t>(rows.size());
  e.patient_count = static_cast<std::int64_t>(std::set(patients.begin(), patients.end()).size());
  for (const auto& [number_, samples] : folds) {
    e.fold_numbers.push_back(number_);
    e.folds.push_back(multiclass_report(samples.labels, samples.probabilities, count));
  }
  const Figures figures(all.labels, all.probabilities, count);
  e.all = figures.report();
  std::vector<double> values(figures.count());
  figures(std::vector<int>(all.labels.size(), 1), values);
  const auto intervals =
      group_bootstrap(group_numbers(patients), bootstrap, values.size(), std::cref(figures));
  std::size_t at = 0;
  const auto add = [&](const char* name, int cls) {
    e.figures.push_back({name, cls, values[at], intervals[at].interval, intervals[at].undefined});
    ++at;
  };
  for (const char* name : kOverall) add(name, -1);
  for (int c = 0; c < count; ++c)
    for (const char* name : kOfClass) add(name, c);
  return e;
}

MacroAucTest macro_auc_test(std::span<const int> labels, std::span<const std::vector<double>> first,
                            std::span<const std::vector<double>> second, int classes,
                            std::span<const int> groups, const BootstrapOptions& bootstrap) {
  const Figures a(labels, first, classes), b(labels, second, classes);
  const std::vector<int> once(labels.size(), 1);
  MacroAucTest result;
  result.first = a.macro_auc(once);
  result.second = b.macro_auc(once);
  result.difference = result.first - result.second;
  if (std::isnan(result.difference)) return result;
  const BootstrapInterval drawn = group_bootstrap(
      groups, bootstrap, 1,
      [&](Copies copies, std::span<double> values) {
        values[0] = a.macro_auc(copies) - b.macro_auc(copies);
      },
      labels)[0];
  result.interval = drawn.interval;
  result.standard_error = drawn.standard_error;
  if (!(result.standard_error > 0)) return result;
  result.z = result.difference / result.standard_error;
  result.p = normal_two_sided_p(result.z);
  return result;
}

nlohmann::json to_json(const MulticlassReport& report, const std::vector<std::string>& classes) {
  nlohmann::json json = {{"confusion", to_json(report.confusion, classes)["counts"]},
                         {"accuracy", number(report.accuracy)},
                         {"balanced_accuracy", number(report.balanced_accuracy)},
                         {"macro_f1", number(report.macro_f1)},
                         {"macro_auc", number(report.macro_auc)}};
  for (std::size_t c = 0; c < report.classes.size(); ++c) {
    const ClassFigures& f = report.classes[c];
    nlohmann::json row = {{"class", classes.at(c)}, {"images", f.images}};
    const std::vector<double> values = values_of(f);
    for (std::size_t k = 0; k < values.size(); ++k) row[kOfClass[k]] = number(values[k]);
    json["classes"].push_back(std::move(row));
  }
  return json;
}

nlohmann::json to_json(const MulticlassEvaluation& e) {
  nlohmann::json json = {{"classes", e.classes},
                         {"image_count", e.image_count},
                         {"patient_count", e.patient_count},
                         {"options",
                          {{"level", e.bootstrap.level},
                           {"resamples", e.bootstrap.resamples},
                           {"seed", e.bootstrap.seed}}},
                         {"all", to_json(e.all, e.classes)}};
  for (std::size_t k = 0; k < e.folds.size(); ++k) {
    nlohmann::json fold = to_json(e.folds[k], e.classes);
    fold["fold"] = e.fold_numbers[k];
    json["folds"].push_back(std::move(fold));
  }
  // Over the folds, of the figures of all classes.
  const auto over_folds = [&](const char* name, double MulticlassReport::*figure) {
    std::vector<double> values;
    for (const MulticlassReport& fold : e.folds) values.push_back(fold.*figure);
    const MeanDeviation s = spread(values);
    json["mean"][name] = number(s.mean);
    json["standard_deviation"][name] = number(s.deviation);
  };
  over_folds("accuracy", &MulticlassReport::accuracy);
  over_folds("balanced_accuracy", &MulticlassReport::balanced_accuracy);
  over_folds("macro_f1", &MulticlassReport::macro_f1);
  over_folds("macro_auc", &MulticlassReport::macro_auc);
  for (const MulticlassFigure& f : e.figures)
    json["figures"].push_back(
        {{"name", f.name},
         {"class", f.cls < 0 ? nlohmann::json(nullptr)
                             : nlohmann::json(e.classes.at(static_cast<std::size_t>(f.cls)))},
         {"value", number(f.value)},
         {"low", number(f.interval.low)},
         {"high", number(f.interval.high)},
         {"undefined_resamples", f.undefined}});
  return json;
}

}  // namespace thorax
