// The only door to stb_image and stb_image_write: their code is compiled in stb_bridge.cpp alone.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/decode_samples.h"

namespace thorax {

// Decodes bytes that passed check_png or check_jpeg. Samples are uint8_t, or uint16_t if info.bits
// is 16; `channels` as the file has them, or `wanted` where that is not 0. Null, with `reason` set,
// if stb refuses. One decode may allocate at most what an image of info's size can need: a
// compressed stream that unfolds into more fails.
PixelBuffer stb_decode(std::span<const uint8_t> bytes, const ImageInfo& info, int& width,
                       int& height, int& channels, std::string& reason, int wanted = 0);

// Encoders; empty if stb fails. Channels 1 or 3. `quality` 1..100.
std::vector<uint8_t> stb_encode_png(const uint8_t* pixels, int height, int width, int channels);
std::vector<uint8_t> stb_encode_jpeg(const uint8_t* pixels, int height, int width, int channels,
                                     int quality);
std::vector<uint8_t> stb_zlib(const std::vector<uint8_t>& bytes);

}  // namespace thorax
