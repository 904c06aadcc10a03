// A classifier's evaluation as JSON and as a table.
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/stats/classifier_evaluation.h"

namespace thorax {
namespace {

using nlohmann::json;

json point_json(const OperatingPoint& point) {
  return {{"threshold", json_number(point.threshold)},
          {"sensitivity", json_number(point.sensitivity)},
          {"specificity", json_number(point.specificity)},
          {"youden", json_number(point.youden())}};
}

json bins_json(const std::vector<ReliabilityBin>& bins) {
  json result = json::array();
  for (const ReliabilityBin& bin : bins)
    result.push_back({{"low", bin.low},
                      {"high", bin.high},
                      {"count", bin.count},
                      {"predicted", json_number(bin.predicted)},
                      {"observed", json_number(bin.observed)}});
  return result;
}

json figures_json(const std::vector<Figure>& figures) {
  json result = json::array();
  for (const Figure& figure : figures) {
    json row = {{"name", figure.name},
                {"value", json_number(figure.value)},
                {"low", json_number(figure.interval.low)},
                {"high", json_number(figure.interval.high)},
                {"method", figure.method},
                {"n", figure.n}};
    if (figure.method == "bootstrap") row["undefined_resamples"] = figure.undefined;
    result.push_back(std::move(row));
  }
  return result;
}

json judgement_json(const Judgement& j) {
  json result = {{"report", to_json(j.report)}, {"figures", figures_json(j.figures)}};
  const CalibrationFit& fit = j.calibration;
  result["calibration"] = {{"slope", json_number(fit.slope)},
                           {"intercept", json_number(fit.intercept)},
                           {"in_the_large", json_number(fit.in_the_large)},
                           {"expected_error", json_number(j.calibration_error.expected)},
                           {"largest_error", json_number(j.calibration_error.largest)},
                           {"equal_width_bins", bins_json(j.equal_width_bins)},
                           {"equal_count_bins", bins_json(j.equal_count_bins)}};
  // Columns, so that thousands of points stay readable for a plotting program.
  json& roc = result["roc"] = {{"false_positive_rate", json::array()},
                               {"true_positive_rate", json::array()},
                               {"threshold", json::array()}};
  for (const RocPoint& point : j.roc) {
    roc["false_positive_rate"].push_back(point.false_positive_rate);
    roc["true_positive_rate"].push_back(point.true_positive_rate);
    roc["threshold"].push_back(json_number(point.threshold));
  }
  json& pr = result["precision_recall"] = {
      {"precision", json::array()}, {"recall", json::array()}, {"threshold", json::array()}};
  for (const PrecisionRecallPoint& point : j.precision_recall) {
    pr["precision"].push_back(point.precision);
    pr["recall"].push_back(point.recall);
    pr["threshold"].push_back(json_number(point.threshold));
  }
  result["youden_point"] = point_json(j.youden);
  return result;
}

std::string field(double value) {
  return std::isfinite(value) ? fmt::format("{}", value) : "";
}

}  // namespace

json to_json(const ClassifierEvaluation& e) {
  json folds = fold_summary(e.folds);
  for (std::size_t k = 0; k < e.folds.size(); ++k) {
    folds["folds"][k]["fold"] = e.fold_numbers[k];
    folds["folds"][k]["figures"] = figures_json(e.fold_figures[k]);
  }
  const EvaluationOptions& o = e.options;
  const bool named = o.classes.size() == 2;
  return {{"classes", o.classes},
          {"positive", named ? json(o.classes[1]) : json(nullptr)},
          {"options",
           {{"threshold", o.threshold},
            {"level", o.bootstrap.level},
            {"resamples", o.bootstrap.resamples},
            {"seed", o.bootstrap.seed},
            {"stratified", o.stratified},
            {"patient_rule", o.patient_rule == PatientRule::mean ? "mean" : "max"},
            {"bins", o.bins}}},
          {"image_count", e.image_count},
          {"patient_count", e.patient_count},
          {"patients_in_several_folds", e.patients_in_several_folds},
          {"patients_with_different_labels", e.conflicts},
          {"cross_validation", folds},
          {"images", judgement_json(e.images)},
          {"patients", e.patients ? judgement_json(*e.patients) : json(nullptr)}};
}

std::vector<Figure> all_figures(const ClassifierEvaluation& e) {
  std::vector<Figure> result;
  const auto add = [&](const std::string& whose, const std::vector<Figure>& figures) {
    for (Figure figure : figures) {
      figure.name = whose + "/" + figure.name;
      result.push_back(std::move(figure));
    }
  };
  add("images", e.images.figures);
  if (e.patients) add("patients", e.patients->figures);
  for (std::size_t k = 0; k < e.folds.size(); ++k)
    add(fmt::format("fold_{}", e.fold_numbers[k]), e.fold_figures[k]);
  return result;
}

std::string figures_csv(const ClassifierEvaluation& evaluation) {
  std::string csv = "name,value,low,high,method,n\n";
  for (const Figure& f : all_figures(evaluation))
    csv += fmt::format("{},{},{},{},{},{}\n", f.name, field(f.value), field(f.interval.low),
                       field(f.interval.high), f.method, f.n);
  return csv;
}

}  // namespace thorax
