// Pixels as a file stores them, before they are brightness (decode.h) or inside and outside
// (decode_mask.h). What every format's decoder hands out (data/formats/format.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/container_check.h"

namespace thorax {

// Of std::malloc.
struct FreePixels {
  void operator()(void* p) const;
};
using PixelBuffer = std::unique_ptr<void, FreePixels>;
// Not zeroed. Throws std::bad_alloc.
PixelBuffer allocate_pixels(size_t bytes);

// What the samples are wanted for.
enum class Use {
  image,  // brightness, in colour where the file has it
  gray,   // brightness alone: a decoder may leave chroma out (BT.601 luma)
  mask,   // the numbers that the file stores
};

struct Samples {
  ImageInfo info;    // height and width as stored, not yet turned
  int channels = 0;  // of `pixels`, interleaved: 1 for a palette's indices; alpha last in 2 and 4
  // uint8_t, or uint16_t where info.bits is 16. Samples of 1, 2 and 4 bits are multiplied by
  // `step`.
  PixelBuffer pixels;
  int step = 1;
  // Images: the sample that is 1, where the format says it (a window, a range of real numbers);
  // 0: by the depth of the samples and Intensity (decode.h).
  int top = 0;
  // Images of 16 bits: what the file itself says that samples are to be shown as (DICOM's VOI LUTs
  // and windows), in the file's order: the brightness 0..1 of every sample. Intensity chooses.
  struct Window {
    std::string name;  // "window (LINEAR)"
    std::vector<float> brightness;
  };
  std::vector<Window> windows;
  bool inverted = false;  // without a window: the largest sample is black

  size_t count() const { return static_cast<size_t>(info.height) * info.width; }
  const uint8_t* u8() const { return static_cast<const uint8_t*>(pixels.get()); }
  const uint16_t* u16() const { return static_cast<const uint16_t*>(pixels.get()); }
  uint8_t* u8() { return static_cast<uint8_t*>(pixels.get()); }
  uint16_t* u16() { return static_cast<uint16_t*>(pixels.get()); }
};

// By the format's row. Throws Error "[decode] NAME: ..." for files that break a rule, also for a
// pixel whose palette index the palette does not have.
Samples decode_samples(std::span<const uint8_t> bytes, const std::string& name,
                       const DecodeLimits& limits, Use use);

// Throws Error "[decode] NAME: ..." for a pixel whose palette index the palette does not have.
void check_indices(const Samples& samples, const std::string& name);

std::vector<std::byte> read_image_file(const std::filesystem::path& path,
                                       const DecodeLimits& limits);
inline std::span<const uint8_t> as_u8(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
}

}  // namespace thorax
