// The stored pixels of one frame, decompressed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/formats/dicom/object.h"

namespace thorax::dicom {

// The image pixel module (PS3.3, C.7.6.3).
struct Geometry {
  int rows = 0, columns = 0, frames = 1;
  int channels = 1;    // SamplesPerPixel: 1 or 3
  int allocated = 16;  // bits: 8 or 16
  int stored = 16, high = 15;
  bool is_signed = false;
  std::string photometric;
  bool planar = false;
  bool lossy = false;

  size_t samples() const { return static_cast<size_t>(rows) * columns * channels; }
  size_t frame_bytes() const { return samples() * (static_cast<size_t>(allocated) / 8); }
};

// Throws Error "[decode] NAME: ..." for what is missing or contradicts itself, over a limit, not
// read (other bit depths, other colours), pixel data of the wrong length, and, of compressed ones,
// frames whose own header says another size or that have no end.
Geometry read_geometry(Object& object, const DecodeLimits& limits);

// Samples of frame `frame` (from 0) as stored, without what lies above the high bit: for signed
// values, minus the lowest. Colour is R, G, B, interleaved.
std::vector<uint16_t> read_frame(Object& object, Geometry& geometry, int frame);

// "GDCM 3.0.21" where JPEG 2000 is read, else "".
std::string jpeg2000_reader();

}  // namespace thorax::dicom
