#include "models/lung_postprocess.h"

namespace thorax {

LungMask lung_postprocess(const Tensor& mask, const LungPostprocessOptions& options) {
  THORAX_CHECK(mask.defined() && mask.rank() == 4 && mask.size(0) == 1 && mask.size(3) == 1 &&
                   mask.numel() > 0,
               "[lung_postprocess] mask must be 1 x H x W x 1 with at least one pixel, got {}",
               mask.defined() ? mask.shape().to_string() : "nothing");
  THORAX_CHECK(options.min_area >= 0, "[lung_postprocess] least area {} is negative",
               options.min_area);
  LungMask result;
  result.dilated = dilate(mask, options.dilations, options.structure);
  result.mask = close(result.dilated, options.closings, options.structure);
  result.regions = connected_components(result.mask, options.connectivity).components;
  for (const Component& region : result.regions) result.area += region.area;
  const double pixels = static_cast<double>(mask.size(1)) * static_cast<double>(mask.size(2));
  result.area_512 = static_cast<double>(result.area) * (512.0 * 512.0) / pixels;
  result.kept = result.area_512 >= options.min_area;
  return result;
}

}  // namespace thorax
