// Where the networks of an experiment look: heatmaps of held-out images, for its report.
#pragma once

#include <filesystem>
#include <vector>

#include "apps/experiment.h"
#include "apps/report/report.h"
#include "apps/report/table.h"

namespace thorax::app {

// Means over the images that have a heatmap and a lung mask; -1: none had.
struct HeatFigures {
  Table table;         // a row per class, and all; no rows where no image had lungs to compare with
  double inside = -1;  // share of the heatmap's energy inside the lungs
  double area = -1;    // the lungs' share of the image: what energy spread evenly would have
  std::int64_t images = 0;
  std::vector<std::filesystem::path> pictures;
};

// Heatmaps of up to `per_fold` held-out images of each fold, as many of each class as there are, by
// that fold's network; pictures and heatmaps.csv in out/fold_K.
HeatFigures heat_figures(const Experiment& experiment, const ExperimentRow& row,
                         std::int64_t per_fold, const std::filesystem::path& out,
                         const Compute& compute);

// Up to `most` of the pictures, spread over folds and classes, into the report.
void add_heatmap_pictures(Report& report, const HeatFigures& figures, std::size_t most);

}  // namespace thorax::app
