// Arrays of numbers of any type, as NumPy, NIfTI and some TIFF files store them, to samples.
#pragma once

#include <cstdint>
#include <string>

#include "data/decode_samples.h"

namespace thorax {

struct NumberType {
  enum class Kind { boolean, whole, real };
  Kind kind = Kind::whole;
  bool is_signed = false;
  int bytes = 1;  // 1, 2, 4, 8; real: 4, 8
  bool big_endian = false;
};

// Where the numbers lie. Whoever makes one has checked that all of them lie in memory.
struct NumberArray {
  NumberType type;
  const uint8_t* data = nullptr;
  int height = 0, width = 0, channels = 1;
  // Distances in bytes.
  int64_t row_step = 0, column_step = 0, channel_step = 0;
  // What is meant is slope * stored + intercept (NIfTI).
  double slope = 1, intercept = 0;
};

// Images:
// - whole numbers from 0 to 65535, of whatever type, are samples of 8 bits (where the type has no
//   more) or of 16, and go by Intensity (data/decode.h) as those of a PNG do;
// - real numbers from 0 to 1 are brightness as they are;
// - of any other numbers the file's least becomes 0 and its largest 1, which a note says.
// Masks: whole numbers from 0 to 65535 as they are; anything else is refused.
// Throws Error "[decode] NAME: ..." for numbers that are not finite, "[mask] NAME: ..." for a mask
// of other numbers. `info` brings format, size and notes.
Samples samples_of(const NumberArray& array, ImageInfo info, const std::string& name, Use use);

// What the file's type alone says, for ImageFormat::check: channels, bits.
void describe_numbers(const NumberArray& array, ImageInfo& info);

}  // namespace thorax
