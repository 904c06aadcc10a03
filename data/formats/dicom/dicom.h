// DICOM images by DCMTK, JPEG 2000 among them by GDCM; in a build without them, the names alone.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "data/decode_samples.h"

namespace thorax {

// "DCMTK 3.6.7, GDCM 3.0.21", or "" in a build without DCMTK.
std::string dicom_reader();

// ImageFormat::check and decode (data/formats/format.h). Gray of 2 to 16 bits in 8 or 16, signed or
// not, RGB, YBR and palettes of 8 bits; not compressed, deflated, RLE, JPEG, JPEG-LS, JPEG 2000.
//
// Samples are stored values minus the lowest possible one (or, with a modality LUT, its output).
// Samples::windows has what the VOI LUTs and windows of the file, in this order, make of each:
// rescaled, windowed, and black for white in MONOCHROME1. Padding gets the darkest value of the
// rest. The frame is the one that NAME asks for ("x.dcm#2", image_place.h), else the first.
ImageInfo check_dicom(std::span<const uint8_t> bytes, const std::string& name,
                      const DecodeLimits& limits);
Samples decode_dicom(std::span<const uint8_t> bytes, const std::string& name,
                     const DecodeLimits& limits, Use use);

}  // namespace thorax
