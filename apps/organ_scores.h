// How well each organ was found: Dice, IoU and the distance of outlines, by image and over images.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "apps/report/plot.h"
#include "apps/report/table.h"
#include "engine/tensor/tensor.h"

namespace thorax::app {

struct Scored;
struct FoldResult;

// One organ in one image.
struct OrganScore {
  bool present = false;      // in the truth
  bool predicted = false;    // a pixel or more
  double dice = 0, iou = 0;  // NaN where it is in neither: there is nothing to find or to miss
  double hausdorff95 = 0;    // pixels of the network's input; NaN unless in both
};

// Of one image: logits 1 x H x W x outputs, mask 1 x H x W x organs (f32, CPU). Softmax: an organ
// is where its logit is the largest, the first of equals; else where its logit is above 0.
std::vector<OrganScore> organ_scores(const Tensor& logits, const Tensor& mask, bool softmax);

// Sets score, iou and hausdorff95 of a row to the means over the organs that have them. (0 and 0
// where there is none in truth and prediction, which then agree: 1 and 1.)
void set_means(Scored& row);

// One organ over images.
struct OrganReport {
  double dice = 0, iou = 0, hausdorff95 = 0;  // means; NaN over no image
  std::int64_t images = 0;    // with the organ in truth or prediction: what dice and iou are over
  std::int64_t present = 0;   // with it in the truth
  std::int64_t absent = 0;    // without it in both: left out
  std::int64_t measured = 0;  // with a distance
  std::int64_t missed = 0;    // in one of the two only: no distance, Dice 0
};
std::vector<OrganReport> organ_reports(const std::vector<Scored>& scored);

// The means over the organs, each of which counts alike; counts are sums.
OrganReport mean_of(const std::vector<OrganReport>& organs);

// Adds "dice(NAME)" and "hausdorff95(NAME)" where they are defined. A mean that is defined for no
// organ leaves `metrics`, but for "dice", which is 1 then: nothing was there and nothing found.
void add_organ_metrics(const std::vector<Scored>& scored, const std::vector<std::string>& organs,
                       std::map<std::string, double>& metrics);

// A row for each organ of each fold, then of all folds together, and their mean.
Table organ_table(const std::vector<FoldResult>& folds);
// Dice of each organ and fold.
BarChart organ_chart(const std::vector<FoldResult>& folds);

}  // namespace thorax::app
