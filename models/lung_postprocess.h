// From the UNet's lung mask to the lungs that are kept: the study's Algorithm 1 (SN Computer
// Science 2021, 2:294): dilate, close, find the connected regions, add up their areas, reject the
// image when the total is too small.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/morphology/morphology.h"

namespace thorax {

struct LungPostprocessOptions {
  int dilations = 8;
  int closings = 2;  // iterations of the closing: dilations, then as many erosions
  Structure structure = Structure::cross;
  int connectivity = 4;
  // Smallest total area of an accepted image, in pixels of a 512 x 512 mask; scaled to the mask's
  // own resolution.
  double min_area = 50000;
};

struct LungMask {
  Tensor dilated;                  // u8, 1 x H x W x 1, 0 or 1: after the dilation
  Tensor mask;                     // the same after the closing
  std::vector<Component> regions;  // its connected regions
  std::int64_t area = 0;           // their total area in pixels of this mask
  double area_512 = 0;             // the same in pixels of a 512 x 512 mask
  bool kept = false;               // area_512 >= min_area
};

// mask: u8, 1 x H x W x 1, non-zero = lung (sigmoid(logit) > 0.5). The iteration counts are in
// pixels of this mask. Throws Error "[lung_postprocess] ..." for another shape or an empty image.
LungMask lung_postprocess(const Tensor& mask, const LungPostprocessOptions& options = {});

}  // namespace thorax
