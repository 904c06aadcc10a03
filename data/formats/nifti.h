// NIfTI-1 and NIfTI-2 in one file (.nii, .nii.gz): https://nifti.nimh.nih.gov.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/decode_samples.h"
#include "data/image.h"

namespace thorax {

// The head of a file, or of a gzip file that unpacks to one.
bool is_nifti(std::span<const uint8_t> head);

// ImageFormat::check and decode (data/formats/format.h), for pictures: 2-D, or more dimensions of
// which all but the first two are 1. The first axis runs from left to right, the second from top to
// bottom, as ITK and 3D Slicer write a picture; an affine that says otherwise is not applied, which
// a note says. Whole and real numbers, and RGB24.
ImageInfo check_nifti(std::span<const uint8_t> bytes, const std::string& name,
                      const DecodeLimits& limits);
Samples decode_nifti(std::span<const uint8_t> bytes, const std::string& name,
                     const DecodeLimits& limits, Use use);

// A label map as .nii.gz: NIfTI-1, WIDTH x HEIGHT x 1 of uint8, axes as above with the affine that
// ITK gives a picture (left to right is patient's right to left, top to bottom is front to back).
// One channel.
std::vector<uint8_t> encode_nifti(const ImageU8& labels);

}  // namespace thorax
