// Metrics as JSON and as text tables.
#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/train/metrics.h"

namespace thorax {
namespace {

using nlohmann::json;

json number(double value) {
  return std::isfinite(value) ? json(value) : json(nullptr);
}

std::string percent(double value) {
  return std::isnan(value) ? "-" : fmt::format("{:.2f}", 100 * value);
}

// The columns of the fold table.
struct Column {
  const char* title;
  const char* key;
  double (*value)(const BinaryReport&);
};
constexpr std::array<Column, 10> kColumns = {{
    {"accuracy", "accuracy", [](const BinaryReport& r) { return r.counts.accuracy(); }},
    {"sensitiv.", "sensitivity", [](const BinaryReport& r) { return r.counts.sensitivity(); }},
    {"specific.", "specificity", [](const BinaryReport& r) { return r.counts.specificity(); }},
    {"PPV", "ppv", [](const BinaryReport& r) { return r.counts.ppv(); }},
    {"NPV", "npv", [](const BinaryReport& r) { return r.counts.npv(); }},
    {"F1", "f1", [](const BinaryReport& r) { return r.counts.f1(); }},
    {"AUC", "auc", [](const BinaryReport& r) { return r.auc; }},
    {"balanced", "balanced_accuracy",
     [](const BinaryReport& r) { return r.counts.balanced_accuracy(); }},
    {"acc.*", "study_accuracy", [](const BinaryReport& r) { return r.counts.study_accuracy(); }},
    {"spec.*", "study_specificity",
     [](const BinaryReport& r) { return r.counts.study_specificity(); }},
}};

json counts_json(const BinaryCounts& c) {
  return {{"tp", c.tp}, {"fn", c.fn}, {"fp", c.fp}, {"tn", c.tn}};
}

// Rows of cells as a table: the first column left, the others right.
std::string align(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i)
      text += i == 0 ? fmt::format("{:<{}}", row[i], widths[i])
                     : fmt::format("  {:>{}}", row[i], widths[i]);
    text.erase(text.find_last_not_of(' ') + 1);
    text += '\n';
  }
  return text;
}

}  // namespace

json to_json(const BinaryReport& report) {
  json result = counts_json(report.counts);
  result["threshold"] = report.threshold;
  for (const Column& column : kColumns) {
    const std::string key = column.key;
    if (key.starts_with("study_"))
      result["study"][key.substr(6)] = number(column.value(report));
    else
      result[key] = number(column.value(report));
  }
  return result;
}

json to_json(const ConfusionMatrix& matrix, const std::vector<std::string>& names) {
  json result;
  for (int i = 0; i < matrix.classes(); ++i) {
    json row = json::array();
    for (int j = 0; j < matrix.classes(); ++j) row.push_back(matrix.count(i, j));
    result["counts"].push_back(row);
    result["recall"].push_back(number(matrix.recall(i)));
    result["precision"].push_back(number(matrix.precision(i)));
    result["f1"].push_back(number(matrix.f1(i)));
  }
  if (!names.empty()) result["classes"] = names;
  result["accuracy"] = number(matrix.accuracy());
  result["balanced_accuracy"] = number(matrix.balanced_accuracy());
  return result;
}

json to_json(const OverlapCounts& counts) {
  return {{"dice", number(counts.dice())},
          {"iou", number(counts.iou())},
          {"pixel_accuracy", number(counts.pixel_accuracy())}};
}

json fold_summary(std::span<const BinaryReport> folds) {
  json result;
  result["folds"] = json::array();
  BinaryCounts pooled;
  for (const BinaryReport& fold : folds) {
    result["folds"].push_back(to_json(fold));
    pooled += fold.counts;
  }
  for (const Column& column : kColumns) {
    std::vector<double> values;
    for (const BinaryReport& fold : folds) values.push_back(column.value(fold));
    const MeanDeviation s = spread(values);
    result["mean"][column.key] = number(s.mean);
    result["standard_deviation"][column.key] = number(s.deviation);
    result["defined_in_folds"][column.key] = s.count;
  }
  result["pooled_counts"] = counts_json(pooled);
  return result;
}

std::string fold_table(std::span<const BinaryReport> folds) {
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> titles{"fold", "TP", "FN", "FP", "TN"};
  for (const Column& column : kColumns) titles.emplace_back(column.title);
  rows.push_back(titles);
  BinaryCounts pooled;
  for (std::size_t i = 0; i < folds.size(); ++i) {
    const BinaryCounts& c = folds[i].counts;
    pooled += c;
    std::vector<std::string> row{std::to_string(i + 1), std::to_string(c.tp), std::to_string(c.fn),
                                 std::to_string(c.fp), std::to_string(c.tn)};
    for (const Column& column : kColumns) row.push_back(percent(column.value(folds[i])));
    rows.push_back(row);
  }
  std::vector<std::string> means{"mean", std::to_string(pooled.tp), std::to_string(pooled.fn),
                                 std::to_string(pooled.fp), std::to_string(pooled.tn)};
  std::vector<std::string> deviations{"+-", "", "", "", ""}, defined{"folds", "", "", "", ""};
  for (const Column& column : kColumns) {
    std::vector<double> values;
    for (const BinaryReport& fold : folds) values.push_back(column.value(fold));
    const MeanDeviation s = spread(values);
    means.push_back(percent(s.mean));
    deviations.push_back(percent(s.deviation));
    defined.push_back(std::to_string(s.count));
  }
  rows.push_back(means);
  rows.push_back(deviations);
  rows.push_back(defined);
  return align(rows) +
         "Percent; counts in the row of means are sums, and each mean is over as many folds as the "
         "last "
         "row says. acc.* and spec.* are the study's "
         "definitions:\n"
         "balanced accuracy and negative predictive value.\n";
}

std::string confusion_table(const ConfusionMatrix& matrix, const std::vector<std::string>& names) {
  const auto name = [&](int i) {
    return static_cast<std::size_t>(i) < names.size() ? names[static_cast<std::size_t>(i)]
                                                      : std::to_string(i);
  };
  std::vector<std::vector<std::string>> rows{{"actual \\ predicted"}};
  for (int j = 0; j < matrix.classes(); ++j) rows[0].push_back(name(j));
  rows[0].insert(rows[0].end(), {"sum", "recall"});
  for (int i = 0; i < matrix.classes(); ++i) {
    std::vector<std::string> row{name(i)};
    std::int64_t sum = 0;
    for (int j = 0; j < matrix.classes(); ++j) {
      row.push_back(std::to_string(matrix.count(i, j)));
      sum += matrix.count(i, j);
    }
    row.push_back(std::to_string(sum));
    row.push_back(percent(matrix.recall(i)));
    rows.push_back(row);
  }
  return align(rows);
}

std::string confusion_table(const BinaryCounts& counts, const std::string& positive,
                            const std::string& negative) {
  ConfusionMatrix matrix(2);
  matrix.add(0, 0, counts.tp);
  matrix.add(0, 1, counts.fn);
  matrix.add(1, 0, counts.fp);
  matrix.add(1, 1, counts.tn);
  return confusion_table(matrix, {positive, negative});
}

}  // namespace thorax
