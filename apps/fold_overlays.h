// Held-out images that a cross-validated segmenter did worst and best on, as pictures.
#pragma once

#include <filesystem>
#include <vector>

#include "apps/experiment.h"
#include "apps/report/report.h"

namespace thorax::app {

// The `count` images with the lowest Dice, then the `count` with the highest, each predicted anew
// by the network of the fold that held it out, without Algorithm 1: what the network says tinted
// and outlined in blue, the truth outlined in orange, 512 x 512. Written to out/worst_N.png and
// out/best_N.png; given back with captions of fold, Dice, and image.
std::vector<ReportImage> fold_overlays(const Experiment& experiment,
                                       const std::vector<FoldResult>& folds, std::size_t count,
                                       const std::filesystem::path& out, const Compute& compute);

}  // namespace thorax::app
