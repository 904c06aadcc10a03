// Images to PNG and JPEG, in memory or as files that appear whole or not at all.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "data/image.h"

namespace thorax {

// 1 or 3 channels; other shapes throw.
std::vector<uint8_t> encode_png(const ImageU8& image);
std::vector<uint8_t> encode_jpeg(const ImageU8& image, int quality = 92);
// 16-bit PNG, one channel or three.
std::vector<uint8_t> encode_png(const ImageU16& image);

// By extension (.png, .jpg, .jpeg), written to a temporary file beside `path`, then renamed.
void save_image(const std::filesystem::path& path, const ImageU8& image);
void save_image(const std::filesystem::path& path, const Image& image);

}  // namespace thorax
