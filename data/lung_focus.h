// How much of a heatmap lies inside the lungs.
//
// A classifier that learned the disease looks at the lungs; one that learned the hospital looks at
// borders and text. Two figures say which, each beside its level of chance, the lungs' share of the
// image's area: the share of the heatmap's sum that lies inside the lungs (Wang et al.,
// "Score-CAM", CVPRW 2020: energy-based pointing game), and whether its maximum does (Zhang et al.,
// "Top-down neural attention by excitation backprop", IJCV 2018: pointing game).
#pragma once

#include <optional>

#include "data/image.h"

namespace thorax {

struct LungFocus {
  double energy_share = 0;  // of the heatmap's sum, inside the lungs
  double area_share = 0;    // of the image's pixels, inside the lungs: what chance would give
  bool hit = false;         // whether the heatmap's maximum lies inside
  double ratio() const { return energy_share / area_share; }
};

// `heat`: one channel, not negative; `lungs`: a mask of its size. Nothing when the heatmap is zero
// everywhere or the mask empty. Of several maxima the middle one in reading order counts. Throws
// Error "[lung_focus] ..." for sizes that differ and for negative or undefined values.
std::optional<LungFocus> lung_focus(const Image& heat, const ImageU8& lungs);

}  // namespace thorax
