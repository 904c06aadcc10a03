#include "apps/organ_scores.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "apps/training.h"
#include "engine/stats/surface_distance.h"
#include "engine/tensor/error.h"

namespace thorax::app {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// Mean of the values that are numbers; NaN over none.
double mean_defined(const std::vector<double>& values) {
  double sum = 0;
  std::int64_t count = 0;
  for (const double value : values) {
    if (std::isnan(value)) continue;
    sum += value;
    ++count;
  }
  return count > 0 ? sum / static_cast<double>(count) : kNone;
}

}  // namespace

std::vector<OrganScore> organ_scores(const Tensor& logits, const Tensor& mask, bool softmax) {
  const Tensor x = logits.to_contiguous(), truth = mask.to_contiguous();
  const std::int64_t outputs = x.size(3), organs = truth.size(3), pixels = x.size(1) * x.size(2);
  THORAX_CHECK(outputs == organs + (softmax ? 1 : 0),
               "[organs] logits {} and masks {}: {} outputs for {} organs", x.shape(),
               truth.shape(), outputs, organs);
  std::vector<OrganScore> scores;
  std::vector<std::vector<std::uint8_t>> found(
      static_cast<std::size_t>(organs),
      std::vector<std::uint8_t>(static_cast<std::size_t>(pixels)));
  for (std::int64_t i = 0; i < pixels; ++i) {
    const float* own = x.data<float>() + i * outputs;
    const auto at = static_cast<std::size_t>(i);
    if (softmax) {
      const std::int64_t best = std::max_element(own, own + outputs) - own;
      if (best > 0) found[static_cast<std::size_t>(best - 1)][at] = 1;
    } else {
      for (std::int64_t k = 0; k < organs; ++k) found[static_cast<std::size_t>(k)][at] = own[k] > 0;
    }
  }
  for (std::int64_t k = 0; k < organs; ++k) {
    const std::vector<std::uint8_t>& prediction = found[static_cast<std::size_t>(k)];
    std::vector<std::uint8_t> wanted(static_cast<std::size_t>(pixels));
    std::int64_t both = 0, predicted = 0, present = 0;
    for (std::int64_t i = 0; i < pixels; ++i) {
      const auto at = static_cast<std::size_t>(i);
      wanted[at] = truth.data<float>()[i * organs + k] > 0.5f;
      both += wanted[at] && prediction[at];
      predicted += prediction[at];
      present += wanted[at];
    }
    OrganScore score{present > 0, predicted > 0, kNone, kNone, kNone};
    if (present + predicted > 0) {
      score.dice = 2.0 * static_cast<double>(both) / static_cast<double>(present + predicted);
      score.iou = static_cast<double>(both) / static_cast<double>(present + predicted - both);
    }
    if (score.present && score.predicted)
      score.hausdorff95 = surface_distances(prediction, wanted, x.size(1), x.size(2)).hausdorff95;
    scores.push_back(score);
  }
  return scores;
}

void set_means(Scored& row) {
  std::vector<double> dice, iou, distance;
  for (const OrganScore& organ : row.organs) {
    dice.push_back(organ.dice);
    iou.push_back(organ.iou);
    distance.push_back(organ.hausdorff95);
  }
  row.score = mean_defined(dice);
  row.iou = mean_defined(iou);
  row.hausdorff95 = mean_defined(distance);
  // No organ in the truth, none found: as right as can be.
  if (std::isnan(row.score)) row.score = row.iou = 1;
}

std::vector<OrganReport> organ_reports(const std::vector<Scored>& scored) {
  std::vector<OrganReport> reports;
  if (scored.empty()) return reports;
  for (std::size_t k = 0; k < scored.front().organs.size(); ++k) {
    OrganReport report;
    std::vector<double> dice, iou, distance;
    for (const Scored& row : scored) {
      const OrganScore& organ = row.organs.at(k);
      dice.push_back(organ.dice);
      iou.push_back(organ.iou);
      distance.push_back(organ.hausdorff95);
      report.present += organ.present;
      report.images += organ.present || organ.predicted;
      report.absent += !organ.present && !organ.predicted;
      report.measured += organ.present && organ.predicted;
      report.missed += organ.present != organ.predicted;
    }
    report.dice = mean_defined(dice);
    report.iou = mean_defined(iou);
    report.hausdorff95 = mean_defined(distance);
    reports.push_back(report);
  }
  return reports;
}

OrganReport mean_of(const std::vector<OrganReport>& organs) {
  OrganReport mean;
  std::vector<double> dice, iou, distance;
  for (const OrganReport& organ : organs) {
    dice.push_back(organ.dice);
    iou.push_back(organ.iou);
    distance.push_back(organ.hausdorff95);
    mean.images += organ.images;
    mean.present += organ.present;
    mean.absent += organ.absent;
    mean.measured += organ.measured;
    mean.missed += organ.missed;
  }
  mean.dice = mean_defined(dice);
  mean.iou = mean_defined(iou);
  mean.hausdorff95 = mean_defined(distance);
  return mean;
}

void add_organ_metrics(const std::vector<Scored>& scored, const std::vector<std::string>& organs,
                       std::map<std::string, double>& metrics) {
  if (organs.empty()) return;
  const std::vector<OrganReport> reports = organ_reports(scored);
  for (std::size_t k = 0; k < reports.size(); ++k)
    for (const auto& [name, value] : {std::pair<const char*, double>{"dice", reports[k].dice},
                                      {"hausdorff95", reports[k].hausdorff95}})
      if (!std::isnan(value)) metrics[fmt::format("{}({})", name, organs.at(k))] = value;
  if (std::isnan(metrics["dice"])) metrics["dice"] = 1;
  for (const char* name : {"iou", "hausdorff95"})
    if (std::isnan(metrics[name])) metrics.erase(name);
}

Table organ_table(const std::vector<FoldResult>& folds) {
  Table table{"Held-out images, by organ",
              {{"images", CellKind::text},
               {"organ", CellKind::text},
               {"with organ", CellKind::integer},
               {"in neither", CellKind::integer},
               {"with distance", CellKind::integer},
               {"missed", CellKind::integer},
               {"Dice", CellKind::number, 4},
               {"IoU", CellKind::number, 4},
               {"Hausdorff 95 % (pixels)", CellKind::number, 2}},
              {}};
  const auto add = [&](const std::string& name, const std::vector<Scored>& scored,
                       const std::vector<std::string>& organs) {
    const std::vector<OrganReport> reports = organ_reports(scored);
    const auto row = [&](const std::string& organ, const OrganReport& r) {
      table.rows.push_back(
          {name, organ, r.present, r.absent, r.measured, r.missed, r.dice, r.iou, r.hausdorff95});
    };
    for (std::size_t k = 0; k < reports.size(); ++k) row(organs.at(k), reports[k]);
    row("mean", mean_of(reports));
  };
  std::vector<Scored> all;
  for (std::size_t f = 0; f < folds.size(); ++f) {
    if (folds.size() > 1) add(fmt::format("fold {}", f + 1), folds[f].scored, folds[f].organs);
    all.insert(all.end(), folds[f].scored.begin(), folds[f].scored.end());
  }
  if (!folds.empty()) add(folds.size() > 1 ? "all folds" : "all", all, folds.front().organs);
  table.notes = {
      "Dice and IoU are means over the images that have the organ in truth or prediction; where it "
      "is in neither it is left out and counted. An image where only one of them has it is missed: "
      "its Dice and IoU are 0, it has no distance. The mean is over the organs."};
  return table;
}

BarChart organ_chart(const std::vector<FoldResult>& folds) {
  BarChart chart;
  chart.title = "Dice by organ";
  chart.value_label = "Dice";
  chart.groups = folds.front().organs;
  chart.dots = true;
  chart.digits = 3;
  chart.low = 0;
  chart.high = 1;
  for (std::size_t f = 0; f < folds.size(); ++f) {
    BarSeries series;
    series.name = fmt::format("fold {}", f + 1);
    for (const OrganReport& report : organ_reports(folds[f].scored))
      series.values.push_back(report.dice);
    chart.series.push_back(std::move(series));
  }
  chart.caption = "Means over the held-out images that have the organ in truth or prediction.";
  return chart;
}

}  // namespace thorax::app
