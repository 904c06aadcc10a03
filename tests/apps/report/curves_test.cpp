// Training logs and the figures of an evaluation: the numbers that are drawn.
#include <doctest/doctest.h>

#include <cmath>
#include <fstream>

#include "apps/report/evaluation_figures.h"
#include "apps/report/training_curves.h"
#include "tests/apps/report/support.h"

using namespace thorax;
using namespace thorax::app;
using namespace thorax::test;
namespace fs = std::filesystem;

namespace {

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

std::string epoch(int number, double train_loss, double loss, const std::string& more = "") {
  return fmt::format("{{\"kind\":\"epoch\",\"epoch\":{},\"train_loss\":{},\"loss\":{}{}}}\n",
                     number, train_loss, loss, more);
}

const Series& named(const Plot& plot, const std::string& name) {
  for (const Series& s : plot.series)
    if (s.name == name) return s;
  FAIL("no series '" << name << "'");
  return plot.series[0];
}

}  // namespace

TEST_CASE("a log: epochs are read, steps and an unfinished line are not, null is NaN") {
  const TempFolder folder;
  write(folder / "fold_0/metrics.jsonl",
        "{\"kind\":\"step\",\"step\":1,\"loss\":9}\n" + epoch(1, 0.5, 0.6, ",\"auc\":null") +
            epoch(2, 0.25, 0.5, ",\"auc\":0.75,\"dice\":0.5") + "{\"kind\":\"epoch\",\"epo");
  const TrainingLog log = read_training_log(folder / "fold_0/metrics.jsonl");
  CHECK(log.name == "fold_0");
  CHECK(log.epochs == std::vector<double>{1, 2});
  CHECK(log.metrics.at("loss") == std::vector<double>{0.6, 0.5});
  CHECK(std::isnan(log.metrics.at("auc")[0]));
  CHECK(log.metrics.at("auc")[1] == 0.75);
  CHECK(std::isnan(log.metrics.at("dice")[0]));
}

TEST_CASE("a bad log is refused, naming file and line") {
  const TempFolder folder;
  const fs::path file = folder / "metrics.jsonl";
  const auto refused = [&](const std::string& text, const char* part) {
    write(file, text);
    CHECK_REFUSED(read_training_log(file), part);
  };
  refused(epoch(1, 1, 1) + "not json\n", "metrics.jsonl:2: is no line of JSON");
  refused("[1,2]\n", "metrics.jsonl:1: is no JSON object");
  refused("{\"kind\":\"epoch\"}\n", "metrics.jsonl:1: has no epoch");
  refused(epoch(2, 1, 1) + epoch(2, 1, 1), "metrics.jsonl:2: epoch 2 follows epoch 2");
  refused("{\"kind\":\"epoch\",\"epoch\":1,\"loss\":\"low\"}\n", "'loss' is no number");
  for (const char* wrong : {"1.5", "-1", "1e300"})
    refused(fmt::format("{{\"kind\":\"epoch\",\"epoch\":{}}}\n", wrong),
            "is not a whole number from 0 to");
  CHECK_REFUSED(read_training_log(folder / "absent.jsonl"), "[io] ");
  write(file, "");
  CHECK_REFUSED(training_plots({read_training_log(file)}, ""), "no epoch has ended yet");
}

TEST_CASE("folds are found in the order of their numbers; a single run has its own log") {
  const TempFolder folder;
  for (const char* name : {"fold_10", "fold_9", "fold_x", "fold_"})
    write(folder / name / "metrics.jsonl", epoch(1, 1, 1));
  fs::create_directories(folder / "fold_11");  // not begun
  const std::vector<TrainingLog> logs = read_training_logs(folder.path());
  REQUIRE(logs.size() == 2);
  CHECK(logs[0].name == "fold_9");
  CHECK(logs[1].name == "fold_10");
  CHECK(read_training_logs(folder / "fold_9").size() == 1);
  CHECK_REFUSED(read_training_logs(folder / "fold_11"), "holds no metrics.jsonl");
}

TEST_CASE("several folds: the mean, and one sample deviation to each side where two reached it") {
  const TempFolder folder;
  write(folder / "fold_0/metrics.jsonl", epoch(1, 1, 2) + epoch(2, 1, 4) + epoch(3, 1, 5));
  write(folder / "fold_1/metrics.jsonl", epoch(1, 3, 2) + epoch(2, 3, 8));
  const std::vector<Plot> plots = training_plots(read_training_logs(folder.path()), "HRNet");
  REQUIRE(plots.size() == 1);  // no metric but the loss
  CHECK(plots[0].title == "HRNet: loss");
  CHECK(named(plots[0], "training").y == std::vector<double>{2, 2, 1});
  CHECK(named(plots[0], "validation").y == std::vector<double>{2, 6, 5});
  const Series& band = plots[0].series[2];  // behind the validation loss
  REQUIRE(band.style == SeriesStyle::band);
  CHECK(band.look == named(plots[0], "validation").look);
  CHECK(band.y[1] == doctest::Approx(6 - std::sqrt(8.0)));
  CHECK(band.high[1] == doctest::Approx(6 + std::sqrt(8.0)));
  CHECK(std::isnan(band.y[2]));
  CHECK(check_xml(draw(plots[0]).svg).error == "");
}

TEST_CASE("one run: no bands; metrics have a figure of their own, with their proper names") {
  const TempFolder folder;
  write(folder / "metrics.jsonl",
        epoch(1, 1, 2, ",\"dice\":0.5,\"iou\":0.4,\"hausdorff95\":12,\"lr\":0.1"));
  const std::vector<Plot> plots = training_plots(read_training_logs(folder.path()), "");
  REQUIRE(plots.size() == 3);
  CHECK(plots[0].series.size() == 2);
  CHECK(plots[1].series.size() == 2);
  CHECK(named(plots[1], "Dice").y[0] == 0.5);
  CHECK(named(plots[1], "IoU").y[0] == 0.4);
  // Pixels have an axis of their own.
  CHECK(plots[2].series.size() == 1);
  CHECK(named(plots[2], "Hausdorff 95 %").y[0] == 12);
}

TEST_CASE("ROC: single curves with their areas; the mean of folds is taken at each specificity") {
  // Perfect, and useless: their mean rises to 0.5 at once and then along the diagonal's middle.
  const ScoredSet perfect{"perfect", {0, 0, 1, 1}, {0.1, 0.2, 0.8, 0.9}};
  const ScoredSet useless{"useless", {0, 0, 1, 1}, {0.5, 0.5, 0.5, 0.5}};
  const Plot single = roc_plot("ROC", {perfect, useless});
  CHECK(named(single, "perfect, AUC 1.000").y == std::vector<double>{0, 0.5, 1, 1, 1});
  CHECK(named(single, "useless, AUC 0.500").x == std::vector<double>{0, 1});
  const Plot mean = roc_plot("ROC", {perfect, useless}, true);
  const Series& m = named(mean, "mean, AUC 0.750 \u00B1 0.354");
  REQUIRE(m.x.size() == 202);
  CHECK(m.y[0] == 0);
  CHECK(m.x[101] == doctest::Approx(0.5));
  CHECK(m.y[101] == doctest::Approx(0.75));
  CHECK(m.y.back() == 1);
  const Series& band = named(mean, "\u00B1 1 standard deviation");
  CHECK(band.high[101] == 1);  // never above 1
  CHECK(band.y[101] == doctest::Approx(0.75 - std::sqrt(0.125)));
  CHECK(check_xml(draw(mean).svg).error == "");
}

TEST_CASE("several classes or findings: micro of all pairs, macro the mean of the curves") {
  const ScoredSet perfect{"perfect", {0, 0, 1, 1}, {0.1, 0.2, 0.8, 0.9}};
  const ScoredSet useless{"useless", {0, 1, 0, 1}, {0.5, 0.5, 0.5, 0.5}};
  const Plot roc = averaged_roc_plot("ROC", {perfect, useless});
  // Together: 0.9+ 0.8+ {0.5: 2+ 2-} 0.2- 0.1-: (4 + 4 + 2 (2 + 1)) / 16.
  CHECK(named(roc, "micro, AUC 0.875").x.back() == 1);
  const Series& macro = named(roc, "macro, AUC 0.750");
  REQUIRE(macro.x.size() == 202);
  CHECK(macro.y[0] == 0);
  CHECK(macro.y[1] == doctest::Approx(0.5));
  CHECK(macro.y[101] == doctest::Approx(0.75));
  CHECK(macro.y.back() == 1);
  const Plot pr = averaged_precision_recall_plot("PR", {perfect, useless});
  // Precision 1 at recall 1/4 and 1/2, then 4 of 6: 1/2 + 1/2 2/3.
  CHECK(named(pr, "micro, AP 0.833").x.back() == 1);
  for (const double y : named(pr, "macro, AP 0.750").y) CHECK(y == doctest::Approx(0.75));
  CHECK(check_xml(draw(roc).svg).error == "");
  CHECK(check_xml(draw(pr).svg).error == "");
  // A set without a curve: no macro, which would be of the others.
  const ScoredSet one{"one class", {1, 1}, {0.2, 0.9}};
  CHECK(averaged_roc_plot("ROC", {perfect, one}).series.size() == 3);
  CHECK(averaged_precision_recall_plot("PR", {perfect, {"none", {0}, {0.5}}}).series.size() == 4);
}

TEST_CASE("precision and recall: average precision as by hand, ties in one step") {
  // Sorted: 1, 0, {1, 0} -> precision 1, 1/2, 2/4 at recall 1/2, 1/2, 1: AP = 1/2 + 1/4.
  const ScoredSet set{"s", {1, 0, 1, 0}, {0.9, 0.8, 0.3, 0.3}};
  const Plot plot = precision_recall_plot("PR", {set});
  const Series& s = named(plot, "s, AP 0.750");
  CHECK(s.x == std::vector<double>{0, 0.5, 0.5, 0.5, 0.5, 1});
  CHECK(s.y == std::vector<double>{1, 1, 0.5, 0.5, 0.5, 0.5});
  CHECK(named(plot, "guessing, 0.500").y == std::vector<double>{0.5, 0.5});
}

TEST_CASE("reliability: parts, calibration error and Brier score as by hand; intervals hold them") {
  const ScoredSet set{"s", {0, 1, 1, 1}, {0.2, 0.3, 0.9, 1.0}};
  const Plot plot = reliability_plot("Reliability", set, 2);
  const Series& observed = named(plot, "observed share of positives");
  CHECK(observed.x[0] == doctest::Approx(0.25));
  CHECK(observed.y == std::vector<double>{0.5, 1});
  CHECK(named(plot, "share of the images").y == std::vector<double>{0.5, 0.5});
  // ECE = (|0.25 - 0.5| + |0.95 - 1|) / 2; Brier = (0.04 + 0.49 + 0.01 + 0) / 4.
  CHECK(contains(plot.caption, "calibration error 0.150 over 2 parts, Brier score 0.135"));
  const Series& interval = named(plot, "95 % interval");
  // Wilson's interval of 1 of 2 is 0.0945 to 0.9055.
  CHECK(interval.y[0] == doctest::Approx(0.0945).epsilon(0.001));
  CHECK(interval.high[0] == doctest::Approx(0.9055).epsilon(0.001));
  CHECK(interval.high[1] == 1);
}

TEST_CASE("a set without one of the classes has no curve, and nothing falls over it") {
  const ScoredSet none{"none", {}, {}}, one{"one class", {1, 1}, {0.2, 0.9}};
  for (const Plot& plot : {roc_plot("ROC", {none, one}), roc_plot("ROC", {none, one}, true),
                           precision_recall_plot("PR", {none, one}), reliability_plot("R", none)})
    CHECK(check_xml(draw(plot).svg).error == "");
}

TEST_CASE("bad vectors are refused, naming the set") {
  CHECK_REFUSED(roc_plot("", {{"a", {0, 1}, {0.5}}}), "[figures] 'a': 2 labels and 1 scores");
  CHECK_REFUSED(roc_plot("", {{"a", {2}, {0.5}}}), "label 2 of image 1");
  CHECK_REFUSED(precision_recall_plot("", {{"a", {1}, {std::nan("")}}}), "score nan of image 1");
  CHECK_REFUSED(reliability_plot("", {"a", {1}, {1.5}}), "is no probability");
  CHECK_REFUSED(comparison_chart("", {"accuracy"}, {{"HRNet", {}}}), "0 values for 1 measures");
}

TEST_CASE(
    "confusion matrix: the positive class first; comparison: percent, no interval of width 0") {
  const MatrixPlot matrix = confusion_plot("Worst", {39, 2, 1, 50}, "COVID-19", "non-COVID");
  CHECK(matrix.names[0] == "COVID-19");
  CHECK(matrix.counts == std::vector<std::vector<std::int64_t>>{{39, 2}, {1, 50}});
  const BarChart chart = comparison_chart("Models", {"accuracy", "F1"},
                                          {{"HRNet", {{0.99, 0.97, 1}, {0.98, 0.98, 0.98}}}});
  CHECK(chart.series[0].values[0] == doctest::Approx(99));
  CHECK(chart.series[0].low[0] == doctest::Approx(97));
  CHECK(std::isnan(chart.series[0].low[1]));
}
