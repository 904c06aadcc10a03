// A mask has the size of its image.
#pragma once

#include <filesystem>
#include <string>

#include "engine/tensor/error.h"

namespace thorax {

// Throws Error "[data] MASK: mask is 30x20, its image FILE is 20x30...", with the remedy where rows
// and columns are exchanged, as in NIfTI files that were written without a transposition.
inline void check_mask_size(int mask_height, int mask_width, const std::filesystem::path& mask,
                            int height, int width, const std::filesystem::path& image,
                            const std::string& remark = {}) {
  const bool exchanged = mask_height == width && mask_width == height;
  THORAX_CHECK(mask_height == height && mask_width == width,
               "[data] {}: mask is {}x{}, its image {} is {}x{}{}{}", mask.string(), mask_width,
               mask_height, image.string(), width, height, remark,
               exchanged
                   ? "; its rows and columns are exchanged: transpose it (the first axis of a "
                     "NIfTI file, as of an array in nibabel, runs from left to right)"
                   : "");
}

}  // namespace thorax
