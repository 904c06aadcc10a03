// Figures of what a classifier was worth on held-out images, from plain vectors.
#pragma once

#include <string>
#include <vector>

#include "apps/report/plot.h"
#include "apps/report/table.h"
#include "engine/train/metrics.h"

namespace thorax::app {

// Held-out images of one fold or one model: label 0 or 1 (positive) and probability of 1.
struct ScoredSet {
  std::string name;
  std::vector<int> labels;
  std::vector<double> scores;
};

// The functions throw Error "[figures] ..." when labels and scores differ in number, a label is
// neither 0 nor 1, or a score is not finite. A set that lacks one of the classes has no curve: it
// stays in the legend as "(no values)".

// Receiver operating characteristic, one curve per set with its AUC. With `mean` the sets are
// folds: they are drawn thin, and over them the mean of the sensitivities at each specificity with
// one standard deviation to each side, named by mean and standard deviation of the AUCs.
Plot roc_plot(const std::string& title, const std::vector<ScoredSet>& sets, bool mean = false);

// Precision against recall, one curve per set with its average precision (the sum over thresholds
// of precision times what recall gains), and the share of positives, which is what guessing
// reaches.
Plot precision_recall_plot(const std::string& title, const std::vector<ScoredSet>& sets);

// The same of several classes or findings, each against the rest, with two curves over all of them:
// micro, of all their images together, and macro, the mean of the curves (sensitivities at each
// specificity; precisions at each recall), named by the mean of their areas. No macro where a set
// has no curve.
Plot averaged_roc_plot(const std::string& title, const std::vector<ScoredSet>& sets);
Plot averaged_precision_recall_plot(const std::string& title, const std::vector<ScoredSet>& sets);

// Reliability: in `bins` equal parts of 0..1, the observed share of positives against the mean
// predicted probability, with 95 % Wilson intervals; bars show the share of the images that each
// part holds. The caption has the expected calibration error (over these parts) and the Brier
// score.
Plot reliability_plot(const std::string& title, const ScoredSet& set, int bins = 10);

// The confusion matrix of the study's Figures 12 and 14: rows actual, columns predicted, the
// positive class first.
MatrixPlot confusion_plot(const std::string& title, const BinaryCounts& counts,
                          const std::string& positive, const std::string& negative);

// Models (or inputs) compared by several measures, as dots with intervals. values[m][k] is measure
// k of model m, a share of 1, shown in percent; low = high = value (or NaN) draws no interval.
struct ModelResult {
  std::string name;
  std::vector<Interval> values;
};
BarChart comparison_chart(const std::string& title, const std::vector<std::string>& measures,
                          const std::vector<ModelResult>& models);

}  // namespace thorax::app
