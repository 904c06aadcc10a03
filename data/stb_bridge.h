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

// Raw deflate data into `out`: how many bytes were made, or -1 where the data are broken or make
// more than fit (what was made before is there). `deflated` goes on behind its end for at least 4
// bytes, which need not mean anything: a checksum in every container. No checksum is compared.
int64_t stb_inflate(std::span<const uint8_t> deflated, std::span<uint8_t> out);

}  // namespace thorax
