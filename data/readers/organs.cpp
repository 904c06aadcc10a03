// organs=... of a source, and masks of organs that a reader has found by itself.
#include <fmt/format.h>

#include <algorithm>

#include "data/readers/readers.h"
#include "engine/tensor/error.h"

namespace thorax::readers {

void state_organs(Sample& sample, const OrganMasks& stated, const std::string& kind) {
  const std::string text = to_string(stated), image = sample.image.string();
  if (sample.masks.empty()) return;
  if (stated.label_map) {
    THORAX_CHECK(sample.organs.empty(),
                 "[data] {}: organs={}: {} has a mask file for each organ; their names alone say "
                 "which are used (organs=A,B)",
                 kind, text, image);
    THORAX_CHECK(sample.masks.size() == 1,
                 "[data] {}: organs={}: a label map is one file, and {} has {} masks", kind, text,
                 image, sample.masks.size());
    THORAX_CHECK(sample.mask_rule.kind == MaskRule::Kind::automatic,
                 "[data] {}: organs={} and mask_values={}: both say what values mean; give one",
                 kind, text, to_string(sample.mask_rule));
    sample.organs = stated;
    return;
  }
  THORAX_CHECK(!sample.organs.empty() && !sample.organs.label_map,
               "[data] {}: organs={}: {} has no mask file for each organ (columns mask_NAME of a "
               "manifest, folders masks/NAME/); for a label map give the values, organs={}:1",
               kind, text, image, stated.organs.front().name);
  std::vector<OrganMask> chosen;
  std::vector<std::filesystem::path> files;
  std::vector<std::string> there;
  for (const OrganMask& organ : sample.organs.organs) there.push_back(organ.name);
  for (const OrganMask& wanted : stated.organs) {
    const auto found = std::find(there.begin(), there.end(), wanted.name);
    THORAX_CHECK(found != there.end(), "[data] {}: organs={}: {} has no mask of '{}'; it has {}",
                 kind, text, image, wanted.name, fmt::join(there, ", "));
    OrganMask organ = sample.organs.organs[static_cast<std::size_t>(found - there.begin())];
    for (std::size_t& file : organ.files) {
      files.push_back(sample.masks[file]);
      file = files.size() - 1;
    }
    chosen.push_back(std::move(organ));
  }
  sample.organs.organs = std::move(chosen);
  sample.masks = std::move(files);
}

void add_organ(Sample& sample, const std::string& name,
               const std::vector<std::filesystem::path>& files) {
  OrganMask organ{name, {}, {}, {}};
  for (const std::filesystem::path& file : files) {
    organ.files.push_back(sample.masks.size());
    sample.masks.push_back(file);
  }
  sample.organs.organs.push_back(std::move(organ));
}

}  // namespace thorax::readers
