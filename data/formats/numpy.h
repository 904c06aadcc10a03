// Arrays that NumPy has saved: .npy, and .npz (a zip archive of them).
// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html, versions 1.0 to 3.0.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "data/decode_samples.h"

namespace thorax {

// The head of an .npy file, or of a zip archive whose first entry is called so.
bool is_npy(std::span<const uint8_t> head);

// ImageFormat::check and decode (data/formats/format.h). HxW, HxWx1 or HxWx3 of bool, of whole
// numbers, or of real ones (f4, f8), in either byte order, C or Fortran order. Nothing that needs
// Python's pickle is read. Of an archive with several arrays the one called `image` (a mask:
// `mask`) is read.
ImageInfo check_npy(std::span<const uint8_t> bytes, const std::string& name,
                    const DecodeLimits& limits);
Samples decode_npy(std::span<const uint8_t> bytes, const std::string& name,
                   const DecodeLimits& limits, Use use);

}  // namespace thorax
