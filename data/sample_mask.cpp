// The masks of a sample as one, apart from the loader: readers use it, too.
#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "data/decode_mask.h"
#include "data/loader.h"
#include "data/mask_size.h"
#include "data/organs.h"
#include "engine/tensor/error.h"

namespace thorax {

ImageU8 sample_mask(const Sample& sample, int height, int width) {
  ImageU8 mask;
  if (!sample.organs.empty() && !sample.masks.empty()) {
    std::vector<std::string> names;
    for (const OrganMask& organ : sample.organs.organs) names.push_back(organ.name);
    const std::vector<size_t> lungs = lungs_among(names);
    THORAX_CHECK(
        !lungs.empty(),
        "[data] {}: its organs are {}, and the lungs are wanted: name one of them lungs (or "
        "two left lung and right lung), or use a source with lung masks",
        sample.image.string(), fmt::join(names, ", "));
    const OrganMap map = sample_organs(sample, names, height, width);
    for (const size_t k : lungs) {
      ImageU8 one = organ_plane(map, k);
      mask = mask.empty() ? std::move(one) : merge_masks(mask, one);
    }
    return mask;
  }
  for (const auto& path : sample.masks) {
    ImageU8 one = load_mask(path, sample.mask_rule);
    check_mask_size(one.height, one.width, path, height, width, sample.image);
    mask = mask.empty() ? std::move(one) : merge_masks(mask, one);
  }
  return mask;
}

}  // namespace thorax
