// One heatmap as a picture.
#pragma once

#include <string>
#include <vector>

#include "data/image.h"

namespace thorax::app {

// Side by side: the radiograph, the heatmap laid over it, a colour bar; the lungs' outline on both
// when `lungs` is not empty; the caption's lines below. `gray` and `heat`: one channel, 0..1, of
// the same size.
ImageU8 heatmap_picture(const Image& gray, const Image& heat, const ImageU8& lungs,
                        const std::vector<std::string>& caption);

}  // namespace thorax::app
