#include "engine/stats/classifier_evaluation.h"

#include <algorithm>
#include <chrono>
#include <map>

#include "engine/runtime/philox.h"
#include "engine/stats/paired_tests.h"
#include "engine/tensor/error.h"
#include "tests/engine/stats/golden.h"
#include "tests/support/threads.h"

using namespace thorax;

namespace {

// `images` predictions of about a third as many patients, in three folds.
std::vector<EvaluationRow> predictions(int images, std::uint64_t seed) {
  std::vector<EvaluationRow> rows;
  Philox random(seed);
  for (int i = 0; i < images; ++i) {
    const int patient = static_cast<int>(random.below(static_cast<std::uint64_t>(images / 3 + 1)));
    const int label = patient % 2;
    const double logit = 1.5 * random.normal() + 2 * label - 1;
    const double probability = std::round(1000 / (1 + std::exp(-logit))) / 1000;
    rows.push_back(
        {fmt::format("image{}", i), fmt::format("p{}", patient), patient % 3, label, probability});
  }
  return rows;
}

const Figure& find(const std::vector<Figure>& figures, const std::string& name,
                   const std::string& method) {
  const auto at = std::find_if(figures.begin(), figures.end(), [&](const Figure& figure) {
    return figure.name == name && figure.method == method;
  });
  REQUIRE_MESSAGE(at != figures.end(), name, " by ", method);
  return *at;
}

}  // namespace

TEST_CASE("an evaluation is made of the single statistics") {
  std::vector<EvaluationRow> rows = predictions(90, 5);
  EvaluationOptions options;
  options.bootstrap = {200, 3, 0.9};
  options.threshold = 0.4;
  const ClassifierEvaluation e = evaluate_classifier(rows, options);
  // The same by hand, in the order that the evaluation promises not to depend on.
  std::sort(rows.begin(), rows.end(), [](auto& a, auto& b) { return a.image < b.image; });
  std::vector<int> labels;
  std::vector<double> p;
  std::vector<std::string> patients;
  for (const EvaluationRow& row : rows) {
    labels.push_back(row.label);
    p.push_back(row.probability);
    patients.push_back(row.patient);
  }
  const std::vector<int> groups = group_numbers(patients);
  using Labels = std::span<const int>;
  using Scores = std::span<const double>;
  const std::map<std::string, std::function<double(Labels, Scores)>> statistics = {
      {"accuracy", [](Labels l, Scores s) { return binary_counts(l, s, 0.4).accuracy(); }},
      {"sensitivity", [](Labels l, Scores s) { return binary_counts(l, s, 0.4).sensitivity(); }},
      {"specificity", [](Labels l, Scores s) { return binary_counts(l, s, 0.4).specificity(); }},
      {"ppv", [](Labels l, Scores s) { return binary_counts(l, s, 0.4).ppv(); }},
      {"npv", [](Labels l, Scores s) { return binary_counts(l, s, 0.4).npv(); }},
      {"balanced_accuracy",
       [](Labels l, Scores s) { return binary_counts(l, s, 0.4).balanced_accuracy(); }},
      {"f1", [](Labels l, Scores s) { return binary_counts(l, s, 0.4).f1(); }},
      {"auc", [](Labels l, Scores s) { return roc_auc(l, s); }},
      {"average_precision", [](Labels l, Scores s) { return average_precision(l, s); }},
      {"sensitivity_at_specificity_90",
       [](Labels l, Scores s) { return sensitivity_at(0.90, l, s).sensitivity; }},
      {"sensitivity_at_specificity_95",
       [](Labels l, Scores s) { return sensitivity_at(0.95, l, s).sensitivity; }},
      {"brier", [](Labels l, Scores s) { return brier_score(l, s); }},
      {"log_loss", [](Labels l, Scores s) { return log_loss(l, s); }},
      {"calibration_error",
       [](Labels l, Scores s) { return calibration_error(reliability_bins(l, s)).expected; }}};
  for (const auto& [name, statistic] : statistics) {
    CAPTURE(name);
    const Figure& figure = find(e.images.figures, name, "bootstrap");
    CHECK(test::same(figure.value, statistic(labels, p)));
    const auto expected = group_bootstrap(groups, options.bootstrap, [&](auto drawn) {
      std::vector<int> l;
      std::vector<double> s;
      for (const std::size_t i : drawn) {
        l.push_back(labels[i]);
        s.push_back(p[i]);
      }
      return statistic(l, s);
    });
    CHECK(test::same(figure.interval.low, expected.interval.low));
    CHECK(test::same(figure.interval.high, expected.interval.high));
    CHECK(figure.interval.low < figure.interval.high);
    CHECK(figure.n == e.patient_count);
  }
  const BinaryCounts counts = binary_counts(labels, p, 0.4);
  CHECK(e.images.report.counts == counts);
  const Figure& sensitivity = find(e.images.figures, "sensitivity", "wilson");
  CHECK(sensitivity.value == counts.sensitivity());
  CHECK(sensitivity.n == counts.tp + counts.fn);
  CHECK(sensitivity.interval.low == wilson_interval(counts.tp, counts.tp + counts.fn, 0.9).low);
  CHECK(find(e.images.figures, "auc", "delong").interval.high ==
        delong_auc(labels, p, 0.9).interval.high);
  const CalibrationFit fit = calibration_fit(labels, p);
  CHECK(find(e.images.figures, "calibration_slope", "wald").value == fit.slope);
  CHECK(e.images.youden.threshold == youden_point(labels, p).threshold);
  CHECK(e.images.roc.size() == roc_curve(labels, p).size());

  // Patients: one score each.
  const auto scores = patient_scores(patients, labels, p);
  CHECK(e.patient_count == static_cast<std::int64_t>(scores.size()));
  REQUIRE(e.patients);
  CHECK(e.patients->report.counts.total() == e.patient_count);
  std::vector<int> patient_labels;
  std::vector<double> patient_p;
  for (const PatientScore& score : scores) {
    patient_labels.push_back(score.label);
    patient_p.push_back(score.score);
  }
  CHECK(e.patients->report.auc == roc_auc(patient_labels, patient_p));
  // Folds add up.
  BinaryCounts sum;
  for (const BinaryReport& fold : e.folds) sum += fold.counts;
  CHECK(sum == counts);
  CHECK(e.fold_numbers == std::vector{0, 1, 2});
  CHECK(e.patients_in_several_folds == 0);
}

TEST_CASE("an evaluation depends on neither the order of its rows nor the threads") {
  std::vector<EvaluationRow> rows = predictions(70, 6);
  EvaluationOptions options;
  options.bootstrap.resamples = 100;
  options.stratified = true;
  const std::string first = to_json(evaluate_classifier(rows, options)).dump();
  std::reverse(rows.begin(), rows.end());
  test::with_threads(3, [&] {
    CHECK(to_json(evaluate_classifier(rows, options)).dump() == first);
    return 0;
  });
  options.patient_rule = PatientRule::max;
  CHECK(to_json(evaluate_classifier(rows, options)).dump() != first);
}

TEST_CASE("an evaluation as JSON and as a table") {
  const ClassifierEvaluation e = evaluate_classifier(predictions(60, 7), {});
  const auto json = to_json(e);
  CHECK(json["images"]["report"]["auc"] == e.images.report.auc);
  CHECK(json["patients"]["figures"].size() == e.patients->figures.size());
  CHECK(json["cross_validation"]["folds"].size() == 3);
  CHECK(json["images"]["roc"]["threshold"][0].is_null());  // infinity
  CHECK(json["images"]["calibration"]["equal_width_bins"].size() == 10);
  const auto figures = all_figures(e);
  const std::string csv = figures_csv(e);
  CHECK(std::count(csv.begin(), csv.end(), '\n') == static_cast<long>(figures.size()) + 1);
  CHECK(csv.starts_with("name,value,low,high,method,n\nimages/accuracy,0."));
  CHECK(csv.find("\npatients/auc,") != std::string::npos);
  CHECK(csv.find("\nfold_2/auc,") != std::string::npos);
  for (const Figure& figure : figures) {
    CAPTURE(figure.name);
    CHECK(figure.interval.low <= figure.value);
    CHECK(figure.value <= figure.interval.high);
  }
}

TEST_CASE("evaluations of degenerate and wrong rows") {
  EvaluationOptions quick;
  quick.bootstrap.resamples = 50;
  // One class, one image: what can be said is said, the rest is null.
  const std::vector<EvaluationRow> one{{"a", "p", 0, 1, 0.75}};
  const ClassifierEvaluation e = evaluate_classifier(one, quick);
  CHECK(find(e.images.figures, "sensitivity", "bootstrap").interval.low == 1);
  CHECK(std::isnan(find(e.images.figures, "auc", "delong").value));
  CHECK(find(e.images.figures, "auc", "bootstrap").undefined == 50);
  CHECK(to_json(e)["images"]["report"]["specificity"].is_null());
  CHECK(figures_csv(e).find("images/auc,,,,delong,1\n") != std::string::npos);

  // A patient with images of both classes: no figures of patients, and it is named.
  std::vector<EvaluationRow> torn{
      {"a", "p", 0, 1, 0.7}, {"b", "p", 1, 0, 0.2}, {"c", "q", 0, 0, 0}};
  const ClassifierEvaluation t = evaluate_classifier(torn, quick);
  CHECK(!t.patients);
  CHECK(t.conflicts == std::vector<std::string>{"p"});
  CHECK(t.patients_in_several_folds == 1);
  CHECK(to_json(t)["patients"].is_null());
  quick.stratified = true;
  CHECK_THROWS_WITH_AS(evaluate_classifier(torn, quick),
                       doctest::Contains("1 patients, p first, have images with different labels"),
                       Error);
  quick.stratified = false;

  CHECK_THROWS_AS(evaluate_classifier({}, quick), Error);
  const auto bad = [&](EvaluationRow row) {
    const std::vector<EvaluationRow> rows{{"a", "p", 0, 1, 0.5}, row};
    CHECK_THROWS_AS(evaluate_classifier(rows, quick), Error);
  };
  bad({"a", "p", 0, 1, 0.5});
  bad({"b", "", 0, 1, 0.5});
  bad({"", "p", 0, 1, 0.5});
  bad({"b", "p", 0, 2, 0.5});
  bad({"b", "p", 0, 1, 1.5});
  bad({"b", "p", 0, 1, std::nan("")});
  quick.bins = 0;
  CHECK_THROWS_AS(evaluate_classifier(one, quick), Error);
}

TEST_CASE("1000 images with 2000 resamples take no longer than a look at them") {
  const auto rows = predictions(1000, 8);
  const auto begin = std::chrono::steady_clock::now();
  evaluate_classifier(rows, {});
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  MESSAGE(seconds, " s");
  CHECK(seconds < 20);  // 0.1 s alone on one core; sanitizers and neighbours are slower
}
