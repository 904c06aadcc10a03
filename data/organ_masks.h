// Several organs or lesions in the masks of an image: where each one's pixels are written down.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "data/decode_mask.h"

namespace thorax {

struct OrganMask {
  std::string name;
  std::vector<int> values;         // of a label map, ascending
  std::vector<std::size_t> files;  // with masks of their own: places in Sample::masks, joined by OR
  MaskRule rule;                   // of those files
};

// Either one label map that holds all organs, which then exclude each other, or one mask file or
// more for each of them, which may overlap.
struct OrganMasks {
  bool label_map = false;
  bool by_values = false;         // a label map whose organs follow from the data's values
  std::vector<OrganMask> organs;  // empty: the masks are of one organ, the lungs
  std::vector<int> outside;       // further values of a label map that are no organ, beside 0
  bool empty() const { return organs.empty() && !by_values; }
};

// "lungs:1+2,heart:3" (values of a label map; `background:4` names values that are no organ),
// "lungs,heart" (masks of their own: which are used, and in which order), or "auto" (a label map
// whose values are organs, "label 1", "label 2", ...). Throws Error "[organs] ...".
OrganMasks parse_organs(const std::string& text);
// What parse_organs reads.
std::string to_string(const OrganMasks& organs);

}  // namespace thorax
