// PNG files written by libpng. Reading is left to stb_image, which libpng does not beat
// (README.md).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace thorax {

// "libpng 1.6.39", or "" in a build without.
std::string png_writer();

// A PNG of `channels` (1 or 3) samples of 8 or 16 bits a pixel; `pixels` are uint8_t or uint16_t.
// Empty in a build without libpng, and where it fails.
std::vector<uint8_t> libpng_encode(const void* pixels, int height, int width, int channels,
                                   int bits);

}  // namespace thorax
