// Mask files to inside (255) and outside (0). People write masks as 0/1, 0/255, label maps, palette
// images, coloured areas and outlines with smooth edges; which of these a data set uses is decided
// from the values of all its masks together, and in doubt not at all.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "data/container_check.h"
#include "data/image.h"

namespace thorax {

// Which values are inside.
struct MaskRule {
  enum class Kind {
    automatic,  // not decided yet
    nonzero,    // all but 0 (coloured files: all but the background's colour)
    half,       // at least half of `top`
    values,     // those listed
  };
  Kind kind = Kind::automatic;
  int top = 0;              // half: the value of inside; 0: the largest that the file can hold
  std::vector<int> values;  // ascending

  bool operator==(const MaskRule&) const = default;
};

// "auto", "nonzero", "half" (of the file's largest possible value), "half:200", or values joined by
// +: "1", "1+2". Throws Error "[mask] ...".
MaskRule parse_mask_rule(const std::string& text);
std::string to_string(const MaskRule& rule);

// A mask file as values, before a rule is applied.
struct MaskPixels {
  // Gray: as stored (1, 2, 4, 8 or 16 bits). Palette: indices. Colour: where a file has at most 64
  // colours, 0 for the background's and 255 for all others; else the largest difference from the
  // background in a channel. The background is the colour of all four corners.
  ImageU16 values;
  int top = 255;  // largest value that the file can hold
  bool lossy = false;
  bool colour = false;
  std::vector<int> background;  // colour: R, G, B
};

// Alpha is ignored; a file that hides its mask in alpha alone, or whose corners do not agree on a
// background, is an Error.
MaskPixels load_mask_pixels(const std::filesystem::path& path, const DecodeLimits& limits = {});

// What the decision needs of one file.
struct MaskValues {
  std::string file;
  int height = 0, width = 0, top = 255;
  bool lossy = false, colour = false;
  std::vector<int> background;
  std::map<int, int64_t> pixels;  // value -> how many have it
  std::vector<int> corners;       // the values of the four corners
};
MaskValues mask_values(const MaskPixels& pixels, const std::string& file);

// One rule for the masks of one data set. Throws Error "[mask] FILE: ..." with the values seen and
// the remedy where the values allow more than one reading. In order:
// - 0 and one other value in all files together: nonzero;
// - 0 and small whole numbers (up to 32) in lossless files, a label map: nonzero;
// - two poles, 0 and the largest value, with at most a tenth of each file between (smooth edges,
//   JPEG): half;
// - anything else is in doubt, and so are files whose corners are inside: a mask with black lungs.
MaskRule decide_mask_rule(const std::vector<MaskValues>& files);

// Pixels of the file that the rule calls inside.
// Whether all four corners are inside, which lungs never reach, though something is outside.
bool corners_inside(const MaskValues& file, const MaskRule& rule);
int64_t pixels_inside(const MaskValues& file, const MaskRule& rule);

// 255 inside, 0 outside. Throws Error for a list of values and a coloured file.
ImageU8 apply_mask_rule(const MaskPixels& pixels, const MaskRule& rule, const std::string& file);

// A mask file; with an automatic rule its own values decide.
ImageU8 load_mask(const std::filesystem::path& path, const MaskRule& rule = {},
                  const DecodeLimits& limits = {});

}  // namespace thorax
