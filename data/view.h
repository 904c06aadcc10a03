// What of a radiograph a classifier is shown: the study's two inputs, and the controls that tell
// whether it looks at the disease at all.
#pragma once

#include <string>
#include <vector>

#include "data/image.h"

namespace thorax {

enum class View {
  whole,            // the image as it is
  lungs,            // only the lungs stay, the rest is black: the study's way
  no_lungs,         // the lungs are black; their outline still shows
  no_lungs_filled,  // the lungs' bounding box has the mean of all other pixels: no outline either
  border,           // only a frame of a tenth of each side stays: markers, collimation, padding
};

// "whole", "lungs", "no-lungs", "no-lungs-filled", "border".
std::string name_of(View view);
// Throws Error "[view] ..." naming the choices.
View parse_view(const std::string& text);
std::vector<std::string> view_names();
// Whether the view needs a lung mask.
bool needs_mask(View view);

// `mask`: of the image's size, non-zero inside the lungs; may be empty where none is needed.
// Throws Error "[view] ..." when it is needed and absent or of another size.
Image apply_view(View view, Image gray, const ImageU8& mask);

}  // namespace thorax
