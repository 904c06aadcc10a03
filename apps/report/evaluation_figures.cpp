#include "apps/report/evaluation_figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "apps/report/text.h"
#include "engine/tensor/error.h"

namespace thorax::app {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

void check(const ScoredSet& set) {
  const std::string name = clean_text(set.name);
  THORAX_CHECK(set.labels.size() == set.scores.size(), "[figures] '{}': {} labels and {} scores",
               name, set.labels.size(), set.scores.size());
  for (std::size_t i = 0; i < set.labels.size(); ++i) {
    THORAX_CHECK(set.labels[i] == 0 || set.labels[i] == 1, "[figures] '{}': label {} of image {}",
                 name, set.labels[i], i + 1);
    THORAX_CHECK(std::isfinite(set.scores[i]), "[figures] '{}': score {} of image {}", name,
                 set.scores[i], i + 1);
  }
}

std::string with_value(const std::string& name, const char* measure, double value) {
  if (std::isnan(value)) return name;
  return fmt::format("{}, {} {:.3f}", name, measure, value);
}

// Sensitivity at a false positive rate, the highest where the curve rises straight up.
double sensitivity_at(const std::vector<RocPoint>& curve, double rate) {
  RocPoint before = curve.front();
  for (const RocPoint& point : curve) {
    if (point.false_positive_rate > rate) {
      const double run = point.false_positive_rate - before.false_positive_rate;
      const double share = (rate - before.false_positive_rate) / run;
      return before.true_positive_rate +
             share * (point.true_positive_rate - before.true_positive_rate);
    }
    before = point;
  }
  return 1;
}

Series roc_series(const ScoredSet& set) {
  Series s;
  for (const RocPoint& point : roc_curve(set.labels, set.scores)) {
    s.x.push_back(point.false_positive_rate);
    s.y.push_back(point.true_positive_rate);
  }
  return s;
}

// Mean curve with its band, named by the AUCs.
void add_mean(Plot& plot, const std::vector<ScoredSet>& sets) {
  std::vector<std::vector<RocPoint>> curves;
  std::vector<double> areas;
  for (const ScoredSet& set : sets) {
    std::vector<RocPoint> curve = roc_curve(set.labels, set.scores);
    if (curve.empty()) continue;
    curves.push_back(std::move(curve));
    areas.push_back(roc_auc(set.labels, set.scores));
  }
  Series band{"\u00B1 1 standard deviation", SeriesStyle::band, {}, {}, {}, 0};
  Series mean{"", SeriesStyle::line, {}, {}, {}, 0};
  if (!curves.empty()) {
    mean.x = band.x = {0};
    mean.y = {0};
    band.y = band.high = {0};
  }
  constexpr int kSteps = 200;
  for (int i = 0; i <= kSteps && !curves.empty(); ++i) {
    const double rate = static_cast<double>(i) / kSteps;
    std::vector<double> values;
    for (const std::vector<RocPoint>& curve : curves) values.push_back(sensitivity_at(curve, rate));
    const MeanDeviation s = spread(values);
    const double deviation = s.count > 1 ? s.deviation : kNone;
    mean.x.push_back(rate);
    mean.y.push_back(s.mean);
    band.x.push_back(rate);
    band.y.push_back(std::max(0.0, s.mean - deviation));
    band.high.push_back(std::isnan(deviation) ? kNone : std::min(1.0, s.mean + deviation));
  }
  const MeanDeviation area = spread(areas);
  mean.name = areas.size() > 1
                  ? fmt::format("mean, AUC {:.3f} \u00B1 {:.3f}", area.mean, area.deviation)
                  : with_value("mean", "AUC", areas.empty() ? kNone : areas[0]);
  plot.series.push_back(std::move(mean));
  if (areas.size() > 1) plot.series.push_back(std::move(band));
}

// Precision and recall at every distinct score, the highest score first.
struct PrecisionRecall {
  std::vector<double> recall, precision;
  double average = kNone;
};

PrecisionRecall precision_recall(const ScoredSet& set) {
  PrecisionRecall result;
  const double positives = static_cast<double>(std::count(set.labels.begin(), set.labels.end(), 1));
  if (positives == 0) return result;
  std::vector<std::size_t> order(set.labels.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return set.scores[a] > set.scores[b]; });
  double found = 0, before = 0;
  result.average = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    found += set.labels[order[i]];
    if (i + 1 < order.size() && set.scores[order[i + 1]] == set.scores[order[i]]) continue;
    const double recall = found / positives, precision = found / static_cast<double>(i + 1);
    result.average += (recall - before) * precision;
    result.recall.push_back(recall);
    result.precision.push_back(precision);
    before = recall;
  }
  return result;
}

}  // namespace

Plot roc_plot(const std::string& title, const std::vector<ScoredSet>& sets, bool mean) {
  for (const ScoredSet& set : sets) check(set);
  Plot plot{title, {"1 \u2212 specificity", 0.0, 1.0}, {"sensitivity", 0.0, 1.0}};
  plot.diagonal = "chance";
  plot.square = true;
  plot.width = 480;
  plot.height = 480;
  plot.legend = sets.size() > 4 && !mean ? Legend::below : Legend::bottom_right;
  bool named = false;
  for (const ScoredSet& set : sets) {
    Series s = roc_series(set);
    s.faint = mean;
    if (!mean)
      s.name = with_value(set.name, "AUC", roc_auc(set.labels, set.scores));
    else if (!named && !s.x.empty())
      s.name = "single folds";
    named = named || !s.x.empty();
    plot.series.push_back(std::move(s));
  }
  if (mean) add_mean(plot, sets);
  return plot;
}

Plot precision_recall_plot(const std::string& title, const std::vector<ScoredSet>& sets) {
  Plot plot{title, {"recall (sensitivity)", 0.0, 1.0}, {"precision (PPV)", 0.0, 1.0}};
  plot.square = true;
  plot.width = 480;
  plot.height = 480;
  plot.legend = sets.size() > 4 ? Legend::below : Legend::bottom_left;
  double positives = 0, all = 0;
  for (const ScoredSet& set : sets) {
    check(set);
    positives += static_cast<double>(std::count(set.labels.begin(), set.labels.end(), 1));
    all += static_cast<double>(set.labels.size());
    const PrecisionRecall curve = precision_recall(set);
    Series s;
    s.name = with_value(set.name, "AP", curve.average);
    double before = 0;
    for (std::size_t i = 0; i < curve.recall.size(); ++i) {
      // Between two thresholds there is nothing to be had: a step, not a slope.
      s.x.insert(s.x.end(), {before, curve.recall[i]});
      s.y.insert(s.y.end(), {curve.precision[i], curve.precision[i]});
      before = curve.recall[i];
    }
    plot.series.push_back(std::move(s));
  }
  if (all > 0) {
    const double share = positives / all;
    Series guess{fmt::format("guessing, {:.3f}", share), SeriesStyle::line, {0, 1}, {share, share}};
    guess.faint = true;
    plot.series.push_back(std::move(guess));
  }
  return plot;
}

namespace {

// All sets as one.
ScoredSet micro_set(const std::vector<ScoredSet>& sets) {
  ScoredSet all{"micro", {}, {}};
  for (const ScoredSet& set : sets) {
    all.labels.insert(all.labels.end(), set.labels.begin(), set.labels.end());
    all.scores.insert(all.scores.end(), set.scores.begin(), set.scores.end());
  }
  return all;
}

std::vector<ScoredSet> with_micro(std::vector<ScoredSet> sets) {
  sets.push_back(micro_set(sets));
  return sets;
}

// The mean of curves at 0, 1/200, ... 1.
Series mean_series(std::size_t curves, const std::function<double(std::size_t, double)>& value) {
  constexpr int kSteps = 200;
  Series mean;
  for (int i = 0; i <= kSteps; ++i) {
    const double x = static_cast<double>(i) / kSteps;
    double sum = 0;
    for (std::size_t k = 0; k < curves; ++k) sum += value(k, x);
    mean.x.push_back(x);
    mean.y.push_back(sum / static_cast<double>(curves));
  }
  return mean;
}

}  // namespace

Plot averaged_roc_plot(const std::string& title, const std::vector<ScoredSet>& sets) {
  Plot plot = roc_plot(title, with_micro(sets));
  plot.legend = Legend::below;
  std::vector<std::vector<RocPoint>> curves;
  double areas = 0;
  for (const ScoredSet& set : sets) {
    curves.push_back(roc_curve(set.labels, set.scores));
    if (curves.back().empty()) return plot;
    areas += roc_auc(set.labels, set.scores);
  }
  if (curves.empty()) return plot;
  Series macro = mean_series(
      curves.size(), [&](std::size_t k, double rate) { return sensitivity_at(curves[k], rate); });
  macro.x.insert(macro.x.begin(), 0);
  macro.y.insert(macro.y.begin(), 0);
  macro.name = with_value("macro", "AUC", areas / static_cast<double>(curves.size()));
  plot.series.push_back(std::move(macro));
  return plot;
}

Plot averaged_precision_recall_plot(const std::string& title, const std::vector<ScoredSet>& sets) {
  Plot plot = precision_recall_plot(title, with_micro(sets));
  plot.legend = Legend::below;
  std::vector<PrecisionRecall> curves;
  double areas = 0;
  for (const ScoredSet& set : sets) {
    curves.push_back(precision_recall(set));
    if (curves.back().recall.empty()) return plot;
    areas += curves.back().average;
  }
  if (curves.empty()) return plot;
  // What is to be had at a recall: the precision at the first threshold that reaches it.
  Series macro = mean_series(curves.size(), [&](std::size_t k, double recall) {
    const PrecisionRecall& c = curves[k];
    const auto at = std::lower_bound(c.recall.begin(), c.recall.end(), recall - 1e-12);
    return c.precision[std::min(static_cast<std::size_t>(at - c.recall.begin()),
                                c.precision.size() - 1)];
  });
  macro.name = with_value("macro", "AP", areas / static_cast<double>(curves.size()));
  plot.series.push_back(std::move(macro));
  return plot;
}

Plot reliability_plot(const std::string& title, const ScoredSet& set, int bins) {
  check(set);
  THORAX_CHECK(bins >= 2 && bins <= 100, "[figures] {} parts; there may be 2 to 100", bins);
  const auto parts = static_cast<std::size_t>(bins);
  std::vector<double> count(parts, 0), positives(parts, 0), sum(parts, 0);
  double brier = 0;
  for (std::size_t i = 0; i < set.scores.size(); ++i) {
    const double p = set.scores[i];
    THORAX_CHECK(p >= 0 && p <= 1, "[figures] '{}': score {} of image {} is no probability",
                 clean_text(set.name), p, i + 1);
    const std::size_t b = std::min(parts - 1, static_cast<std::size_t>(p * bins));
    count[b] += 1;
    positives[b] += set.labels[i];
    sum[b] += p;
    brier += (p - set.labels[i]) * (p - set.labels[i]);
  }
  const double n = static_cast<double>(set.scores.size());
  Series share{"share of the images", SeriesStyle::bars, {}, {}, {}, 5};
  share.bar_width = 1.0 / bins;
  Series observed{"observed share of positives", SeriesStyle::line_points, {}, {}, {}, 0};
  Series interval{"95 % interval", SeriesStyle::interval, {}, {}, {}, 0};
  double error = 0;
  for (std::size_t b = 0; b < parts; ++b) {
    share.x.push_back((static_cast<double>(b) + 0.5) / bins);
    share.y.push_back(n > 0 ? count[b] / n : kNone);
    if (count[b] == 0) continue;
    const double mean = sum[b] / count[b], rate = positives[b] / count[b];
    error += count[b] / n * std::abs(mean - rate);
    observed.x.push_back(mean);
    observed.y.push_back(rate);
    // Wilson's interval for a share (JASA 1927).
    const double z = 1.959963984540054, z2 = z * z / count[b];
    const double middle = (rate + z2 / 2) / (1 + z2);
    const double half =
        z * std::sqrt(rate * (1 - rate) / count[b] + z2 / (4 * count[b])) / (1 + z2);
    interval.x.push_back(mean);
    interval.y.push_back(std::max(0.0, middle - half));
    interval.high.push_back(std::min(1.0, middle + half));
  }
  Plot plot{title, {"predicted probability", 0.0, 1.0}, {"share", 0.0, 1.0}};
  plot.series = {share, interval, observed};
  plot.diagonal = "perfect calibration";
  plot.square = true;
  plot.width = 480;
  plot.height = 500;
  if (n > 0)
    plot.caption = fmt::format(
        "{} images. Expected calibration error {:.3f} over {} parts, Brier score {:.3f}.",
        set.scores.size(), error, bins, brier / n);
  return plot;
}

MatrixPlot confusion_plot(const std::string& title, const BinaryCounts& counts,
                          const std::string& positive, const std::string& negative) {
  return {title, {positive, negative}, {{counts.tp, counts.fn}, {counts.fp, counts.tn}}};
}

BarChart comparison_chart(const std::string& title, const std::vector<std::string>& measures,
                          const std::vector<ModelResult>& models) {
  BarChart chart;
  chart.title = title;
  chart.value_label = "percent";
  chart.groups = measures;
  chart.dots = true;
  chart.digits = 1;
  for (const ModelResult& model : models) {
    THORAX_CHECK(model.values.size() == measures.size(),
                 "[figures] '{}': {} values for {} measures", clean_text(model.name),
                 model.values.size(), measures.size());
    BarSeries s;
    s.name = model.name;
    for (const Interval& v : model.values) {
      const bool wide = v.low < v.high;
      s.values.push_back(100 * v.value);
      s.low.push_back(wide ? 100 * v.low : kNone);
      s.high.push_back(wide ? 100 * v.high : kNone);
    }
    chart.series.push_back(std::move(s));
  }
  return chart;
}

}  // namespace thorax::app
