// Image files of every format, as radiographs and as masks.
#include <algorithm>
#include <cmath>

#include "data/decode.h"
#include "data/decode_mask.h"
#include "tests/fuzz/harness.h"
#include "tests/fuzz/image_mutator.h"

namespace thorax::fuzz {
namespace {

DecodeLimits limits() {
  DecodeLimits limits;
  limits.max_file_bytes = 1 << 20;
  limits.max_side = 1 << 12;
  limits.max_pixels = 1 << 16;
  return limits;
}

// A file is refused, or becomes an image of the size it says with pixels 0..1, however its values
// are scaled.
void image(Bytes bytes) {
  const std::string name = "input.image";
  const bool whole = accepted(name, [&] { check_container(bytes, name, limits()); });
  Image color;
  ImageFacts facts;
  const bool decoded =
      accepted(name, [&] { color = decode_image(bytes, name, {.limits = limits()}, &facts); });
  FUZZ_REQUIRE(whole || !decoded, "decoded, although the container is broken");
  const auto check = [&](const Image& one) {
    FUZZ_REQUIRE(one.height == facts.info.height && one.width == facts.info.width,
                 "{}x{} instead of {}x{}", one.width, one.height, facts.info.width,
                 facts.info.height);
    FUZZ_REQUIRE(
        std::all_of(one.pixels.begin(), one.pixels.end(), [](float p) { return p >= 0 && p <= 1; }),
        "a pixel is not in 0..1");
  };
  if (decoded) check(color);
  for (const Intensity intensity :
       {Intensity::depth, Intensity::full, Intensity::percentiles, Intensity::stored}) {
    Image gray;
    const bool taken = accepted(name, [&] {
      gray = decode_gray(bytes, name, {intensity, limits()}, &facts);
    });
    FUZZ_REQUIRE(taken == decoded, "gray and colour do not agree whether the file is good");
    if (!taken) continue;
    check(gray);
    FUZZ_REQUIRE(gray.channels == 1, "gray has {} channels", gray.channels);
  }
}
const Enter enter_png("png", {image, mutate_png});
const Enter enter_jpeg("jpeg", {image, mutate_jpeg});

void mask(Bytes bytes) {
  const std::filesystem::path path = scratch() / "mask.png";
  write_file(path, bytes);
  for (const char* rule : {"auto", "nonzero", "half", "half:3", "1+2"}) {
    ImageInfo info;
    ImageU8 mask;
    if (!accepted("mask.png", [&] {
          info = read_image_info(path, limits());
          mask = load_mask(path, parse_mask_rule(rule), limits());
        }))
      continue;
    FUZZ_REQUIRE(mask.height == info.height && mask.width == info.width && mask.channels == 1,
                 "{}x{}x{} instead of {}x{}", mask.width, mask.height, mask.channels, info.width,
                 info.height);
    FUZZ_REQUIRE(std::all_of(mask.pixels.begin(), mask.pixels.end(),
                             [](std::uint8_t p) { return p == 0 || p == 255; }),
                 "a mask is 0 or 255");
  }
}
const Enter enter_mask("mask", {mask, mutate_png});

void either(Bytes bytes) {
  image(bytes);
  mask(bytes);
}
const Enter enter_tiff("tiff", {either, nullptr});
const Enter enter_dicom("dicom", {either, nullptr});
const Enter enter_npy("npy", {either, nullptr});
const Enter enter_nifti("nifti", {either, nullptr});

}  // namespace
}  // namespace thorax::fuzz
