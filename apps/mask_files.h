// Masks as files, in the format that a command was asked for.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/image.h"

namespace thorax::app {

enum class MaskFormat {
  png,    // NAME.png: 255 inside, 0 outside
  nifti,  // NAME.nii.gz: 1 inside, 0 outside (data/formats/nifti.h)
};
std::vector<std::string> mask_format_names();
// Throws Error "[masks] ..." naming the choices.
MaskFormat parse_mask_format(const std::string& text);

// Writes folder/NAME with the format's ending and removes the same mask in the other format, of an
// earlier run. `mask`: 255 inside, 0 outside; NAME may be a path below the folder.
void save_mask(const std::filesystem::path& folder, const std::string& name, const ImageU8& mask,
               MaskFormat format);
// The same of a label map, whose values are kept in every format.
void save_labels(const std::filesystem::path& folder, const std::string& name,
                 const ImageU8& labels, MaskFormat format);

}  // namespace thorax::app
