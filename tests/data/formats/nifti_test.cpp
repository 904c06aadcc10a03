#include "data/formats/nifti.h"

#include <cstring>

#include "data/formats/format.h"
#include "data/formats/gzip.h"
#include "tests/data/formats/golden_formats.h"

using namespace thorax;
using namespace thorax::test;

TEST_CASE("nifti: labels of every type, byte order and version are the numbers themselves") {
  for (const char* name :
       {"labels.nii.gz", "labels_slice_i16.nii", "labels_be.nii", "labels_f8_two.nii.gz"}) {
    CAPTURE(name);
    const MaskPixels mask = load_mask_pixels(golden_format(name));
    REQUIRE(mask.values.height == kGoldenRows);
    REQUIRE(mask.values.width == kGoldenColumns);
    CHECK(mask.top == 255);
    for (size_t i = 0; i < mask.values.pixels.size(); ++i) CHECK(mask.values.pixels[i] == i % 4);
    const ImageU8 inside = load_mask(golden_format(name), parse_mask_rule("2+3"));
    CHECK(inside.at(0, 2) == 255);
    CHECK(inside.at(0, 1) == 0);
    CHECK(read_image_info(golden_format(name)).format == "nifti");
  }
}

TEST_CASE("nifti: images, and an affine that is not applied") {
  ImageFacts facts;
  check_golden(
      load_gray(golden_format("real.nii.gz"), {}, &facts),
      [](int n, int) { return static_cast<float>(n) / 220.f; }, 0.5f / 65535);
  CHECK(facts.info.notes.empty());
  check_golden(load_gray(golden_format("turned.nii.gz"), {}, &facts),
               [](int n, int) { return static_cast<float>(n) / 255.f; });
  CHECK(
      has_note(facts, "its affine, which would mirror it or turn it upside down, is not applied"));
}

TEST_CASE("nifti: a label map written is the one read") {
  ImageU8 labels(13, 17);
  for (size_t i = 0; i < labels.pixels.size(); ++i) labels.pixels[i] = static_cast<uint8_t>(i % 5);
  const Bytes bytes = encode_nifti(labels);
  TempFolder tmp;
  write_bytes(tmp / "m.nii.gz", bytes);
  const MaskPixels mask = load_mask_pixels(tmp / "m.nii.gz");
  REQUIRE(mask.values.height == 13);
  REQUIRE(mask.values.width == 17);
  for (size_t i = 0; i < labels.pixels.size(); ++i) CHECK(mask.values.pixels[i] == i % 5);
  ImageFacts facts;
  decode_gray(bytes, "x", {}, &facts);
  CHECK(facts.info.notes.empty());  // the affine is ITK's
  CHECK_ERROR(encode_nifti(ImageU8(2, 2, 3)), "NIfTI of 2x2x3: one channel");
}

TEST_CASE("nifti: what is refused, with file and rule") {
  CHECK_ERROR(load_image(golden_format("volume.nii.gz")),
              "volume.nii.gz: nifti of 4x5x6 voxels; a radiograph or its mask has two dimensions");
  const Bytes good = golden_format_bytes("labels_slice_i16.nii");
  const auto with = [&](size_t at, auto value) {
    Bytes b = good;
    std::memcpy(b.data() + at, &value, sizeof value);
    return b;
  };
  CHECK(decode_gray(good, "x").width == kGoldenColumns);
  CHECK_ERROR(decode_gray(with(40, int16_t{9}), "x"), "corrupt nifti: 9 dimensions");
  CHECK_ERROR(decode_gray(with(42, int16_t{-3}), "x"), "nifti header says 0x13 pixels");
  CHECK_ERROR(decode_gray(with(42, int16_t{32000}), "x"), "the limit is 20000 a side");
  CHECK_ERROR(decode_gray(with(42, int16_t{900}), "x"), "truncated nifti: 900x13 numbers want");
  CHECK_ERROR(decode_gray(with(70, int16_t{32}), "x"), "nifti of data type 32");
  CHECK_ERROR(decode_gray(with(108, 1e9f), "x"), "its data begin at byte");
  CHECK_ERROR(decode_gray(with(108, 12.f), "x"), "its data begin at byte 12");
  CHECK_ERROR(decode_gray(with(108, std::nanf("")), "x"), "its data begin at byte");
  CHECK_ERROR(decode_gray(with(345, 'i'), "x"), "in two parts (.hdr and .img)");
  // A slope: what is meant, not what is stored.
  Bytes scaled = with(112, 2.f);
  const float one = 1;
  std::memcpy(scaled.data() + 116, &one, 4);
  TempFolder tmp;
  write_bytes(tmp / "s.nii", scaled);
  CHECK(load_mask_pixels(tmp / "s.nii").values.at(0, 3) == 7);
  for (size_t n = 0; n < good.size(); ++n)
    CHECK_ERROR(decode_gray(Bytes(good.begin(), good.begin() + static_cast<ptrdiff_t>(n)), "x"),
                "x: ");
}

TEST_CASE("gzip: cut short, damaged, a bomb, several members") {
  const Bytes good = golden_format_bytes("labels.nii.gz");
  for (size_t n = 0; n < good.size(); ++n)
    CHECK_ERROR(decode_gray(Bytes(good.begin(), good.begin() + static_cast<ptrdiff_t>(n)), "x"),
                "x: ");
  for (size_t i = 10; i < good.size(); ++i) {
    Bytes b = good;
    b[i] ^= 0x10;
    try {
      decode_gray(b, "x");
    } catch (const Error& e) {
      CHECK(contains(e.what(), "x: "));
    }
  }
  Bytes bomb = good;
  bomb[bomb.size() - 1] = 0x7F;
  CHECK_ERROR(decode_gray(bomb, "x"), "the limit is");
  bomb[bomb.size() - 1] = 0x0F;
  CHECK_ERROR(decode_gray(bomb, "x"), "bytes cannot hold");
  Bytes twice = good;
  const Bytes other = gzip(Bytes(100, 1));
  twice.insert(twice.end(), other.begin(), other.end());
  CHECK_ERROR(decode_gray(twice, "x"), "files of several members are not read");
  Bytes raw(3000);
  for (size_t i = 0; i < raw.size(); ++i) raw[i] = static_cast<uint8_t>(i * i / 7);
  CHECK(gunzip(gzip(raw), "x", 3000) == raw);
  CHECK_ERROR(gunzip(gzip(raw), "x", 2999), "gzip of 3000 bytes, the limit is 2999");
  // Something else that is compressed is no image.
  CHECK_ERROR(decode_gray(gzip(raw), "x"), "compressed with gzip: unpack it first");
}
