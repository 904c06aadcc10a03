// JPEG and PNG files to images. Errors name the file and the rule it broke: missing, empty,
// truncated, not an image, over a limit, corrupt.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "data/container_check.h"
#include "data/image.h"

namespace thorax {

// Size, channels and depth; the file is walked to its end but no pixel is decoded.
ImageInfo read_image_info(const std::filesystem::path& path, const DecodeLimits& limits = {});

// Pixels 0..1, one channel (gray) or three (RGB). Alpha is laid on black; 16-bit samples keep their
// precision; palettes are expanded; EXIF rotation is not applied.
Image load_image(const std::filesystem::path& path, const DecodeLimits& limits = {});
Image decode_image(std::span<const uint8_t> bytes, const std::string& name,
                   const DecodeLimits& limits = {});

// One channel (BT.601 luma when the file has colour).
Image load_gray(const std::filesystem::path& path, const DecodeLimits& limits = {});
Image decode_gray(std::span<const uint8_t> bytes, const std::string& name,
                  const DecodeLimits& limits = {});

// A mask: gray of at least one half is inside (255), all else outside (0).
ImageU8 load_mask(const std::filesystem::path& path, const DecodeLimits& limits = {});

}  // namespace thorax
