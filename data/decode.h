// Image files to images, by the row of their format (data/formats/format.h). Errors name the file
// and the rule it broke: missing, empty, truncated, not an image, over a limit, corrupt.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "data/container_check.h"
#include "data/image.h"

namespace thorax {

// Which stored value becomes 1. A radiograph of 12 bits often lies in a file of 16 with values up
// to 4095, and would be nearly black over the full range. DICOM files may say how they are to be
// shown, by VOI LUTs and windows: `depth` goes by the first of them, `full` and `percentiles` by
// none.
enum class Intensity {
  depth,        // the largest value of the file's effective bit depth (effective_depth)
  full,         // the largest value that the file's samples can have
  percentiles,  // the 0.5th percentile of the file's gray values becomes 0, the 99.5th 1
  stored,       // as depth, but windows that a file names are not applied
  window2,      // as depth, but by a file's second window; a DICOM file without one is refused
};
std::string name_of(Intensity intensity);
// Throws Error "[decode] ..." naming the choices.
Intensity parse_intensity(const std::string& text);
std::vector<std::string> intensity_names();

// Bits that hold a file's values: `combined` is all of its samples joined by OR. With
// `significant_bits` (PNG's sBIT) those, unless the samples were scaled up to `sample_bits` as the
// standard asks; without it the least of 8, 10, 12, 14 and 16 that suffices, for samples of 16
// bits.
int effective_depth(uint32_t combined, int sample_bits, int significant_bits);

struct NumberArray;  // data/formats/numbers.h

struct ReadOptions {
  Intensity intensity = Intensity::depth;
  DecodeLimits limits = {};
};

// What a file said and how it was read.
struct ImageFacts {
  ImageInfo info;            // height and width as the image has them, turned
  int depth = 8;             // effective bits of a sample
  int common_depth = 8;      // the least that holds all but 0.01 % of the samples
  bool transparent = false;  // alpha hides at least 99 % of the pixels
  float range = 0;           // central_range (image_check.h), before percentiles are stretched
};

// Size, channels and depth; the file is walked to its end but no pixel is decoded.
ImageInfo read_image_info(const std::filesystem::path& path, const DecodeLimits& limits = {});

// Pixels 0..1, one channel (gray) or three (RGB), turned as EXIF orientation says. Alpha is
// ignored: it is no part of a radiograph. Samples of 16 bits keep their precision; palettes are
// expanded.
Image load_image(const std::filesystem::path& path, const ReadOptions& options = {},
                 ImageFacts* facts = nullptr);
Image decode_image(std::span<const uint8_t> bytes, const std::string& name,
                   const ReadOptions& options = {}, ImageFacts* facts = nullptr);

// One channel (BT.601 luma when the file has colour).
Image load_gray(const std::filesystem::path& path, const ReadOptions& options = {},
                ImageFacts* facts = nullptr);
Image decode_gray(std::span<const uint8_t> bytes, const std::string& name,
                  const ReadOptions& options = {}, ImageFacts* facts = nullptr);

// The same of numbers in memory, as if numpy.save had written them to a file
// (data/formats/numbers.h says what numbers become): the bits are equal.
Image decode_gray(const NumberArray& array, const std::string& name,
                  const ReadOptions& options = {}, ImageFacts* facts = nullptr);

}  // namespace thorax
