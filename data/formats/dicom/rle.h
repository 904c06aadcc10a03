// RLE of DICOM (PS3.5, Annex G). Not by DCMTK, whose decoder (3.6.7) reads behind the end of a
// frame that promises more bytes than it has (found by fuzzing).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace thorax::dicom {

// One frame: `planes` segments, each a byte of every pixel; of samples of 16 bits the upper byte
// first. Returns them one after the other, planes * pixels bytes. Throws Error "[decode] NAME:
// ..." for another number of segments, offsets that are not ascending or lie outside, and a segment
// that is cut short or makes more bytes than there are pixels.
std::vector<uint8_t> decode_rle(std::span<const uint8_t> frame, int planes, size_t pixels,
                                const std::string& name);

}  // namespace thorax::dicom
