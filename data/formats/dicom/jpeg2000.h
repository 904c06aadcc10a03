// JPEG 2000 in DICOM by GDCM, which DCMTK lacks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace thorax::dicom {

struct Jpeg2000Frame {
  const std::vector<uint8_t>& codestream;
  int rows, columns, channels, allocated, stored, high;
  bool is_signed;
  std::string photometric, transfer_syntax;
};

// "GDCM 3.0.21", or "" in a build without.
std::string jpeg2000_version();

// Decodes one frame into `out`, which has its size. Returns why not, or "".
std::string decode_jpeg2000(const Jpeg2000Frame& frame, std::vector<uint8_t>& out);

}  // namespace thorax::dicom
