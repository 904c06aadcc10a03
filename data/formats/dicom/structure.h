// The elements of a DICOM file (PS3.5, PS3.10), walked without reading values, before DCMTK sees
// the file: it allocates what a length says before it looks whether the file has as many bytes, and
// follows sequences as deep as they go.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/container_check.h"

namespace thorax::dicom {

struct Layout {
  std::string transfer_syntax;    // UID; empty where the file has no meta information
  size_t dataset = 0;             // where the data set begins
  bool preamble = true;           // 128 bytes and "DICM" come first
  std::vector<uint8_t> unpacked;  // the file with a data set that was deflated; else empty
};

// Whether the first bytes are those of a DICOM file: "DICM" after 128 bytes, or an element of the
// meta information or of the first groups of a data set at once, as files before 1996 have it.
bool looks_like_dicom(std::span<const uint8_t> head);

// Throws Error "[decode] NAME: ..." for a file that ends within an element, a value longer than
// what holds it, sequences nested more than 32 deep, and a deflated data set over the limit of a
// file's bytes.
Layout walk(std::span<const uint8_t> bytes, const std::string& name, const DecodeLimits& limits);

}  // namespace thorax::dicom
