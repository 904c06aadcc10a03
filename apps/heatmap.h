// Heatmaps of a trained classifier over many images, and how much of them lies inside the lungs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "apps/inference/ensemble_maps.h"
#include "apps/inference/lung_segmenter.h"
#include "data/dataset.h"
#include "data/image.h"
#include "data/lung_focus.h"
#include "models/grad_cam.h"

namespace thorax::app {

struct HeatmapOptions {
  CamOptions cam;  // layer, method, class
  int batch = 4;
  bool use_masks = false;  // the samples' own lung masks, where they have any
  bool skip_unreadable = false;
  std::filesystem::path out;  // where pictures go; empty: none are drawn
  bool raw = false;           // maps/NAME.png as well: 16 bit, 65535 = the heatmap's maximum
};

struct HeatmapRow {
  Sample sample;
  double probability = 0;   // of class 1 of two; of several classes or findings, of the explained
  std::int64_t target = 1;  // the class explained
  double peak = 0;          // largest value of the map before it is normalised; 0: empty map
  bool has_lungs = false;   // whether there was a mask
  std::optional<LungFocus> focus;  // of maps that are not empty, where there was a mask
  std::filesystem::path picture;   // relative to `out`; empty when none was drawn
};

struct HeatmapReport {
  std::string layer;
  CamMethod method = CamMethod::grad_cam;
  std::vector<std::string> classes;  // the classifier's
  bool multilabel = false;           // these are findings, of which an image may have several
  std::vector<HeatmapRow> rows;      // in the order of the samples
  // Images too small in lung area for a lungs-only classifier, and those that show nothing.
  std::vector<std::string> rejected;
  std::vector<std::string> unreadable;  // error messages of skipped files
};

// A heatmap for every sample. Lungs come from the sample's masks (with use_masks) or, where it has
// none, from `segmenter` (may be null); a mask that the segmenter rejects counts as none. The
// classifier sees what it was trained on: input().view. With `out`, writes
// out/overlays/NNNN_NAME.png (radiograph, heatmap on it, both with the lungs' outline, colour bar).
// Throws Error "[explain] ..." for an unknown layer, listing those there are, before any image is
// read; and when a lungs-only classifier meets a sample without a mask and there is no segmenter.
// With several classifiers the layer is one that each of them has, or each one's last.
HeatmapReport make_heatmaps(const Explainers& classifiers, const LungSegmenter* segmenter,
                            const std::vector<Sample>& samples, const HeatmapOptions& options);

// One row per image: image (the file), id (the "image" of a run's predictions.csv), patient,
// source, class, probability, explained, layer, method, peak, energy_in_lungs, lung_area,
// energy_ratio, pointing_hit, overlay. Empty fields where there is no figure.
void write_heatmap_csv(const HeatmapReport& report, const std::filesystem::path& path);

// Per class of the samples (and over all): n, and mean, sd and n of each figure. `classes` in the
// report's order; unlabelled samples count in "all" only. With several findings an image a sample
// counts with each that it has; Sample::labels are then in the order of the classifier's findings.
nlohmann::ordered_json heatmap_summary(const HeatmapReport& report);
// The same as a table.
std::string heatmap_table(const HeatmapReport& report);

}  // namespace thorax::app
