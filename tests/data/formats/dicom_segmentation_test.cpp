// DICOM Segmentation: written, read back, the same bytes again.
#include "data/formats/dicom/segmentation.h"

#include <doctest/doctest.h>

#include "data/decode.h"
#include "data/encode.h"
#include "data/formats/dicom/dicom.h"
#include "data/formats/dicom/header.h"
#include "engine/io/atomic_file.h"
#include "tests/data/support.h"

namespace thorax {
namespace {

namespace fs = std::filesystem;
using test::contains;
using test::error_of;

const fs::path kGolden = test::source_folder() / "tests/data/golden/dicom";

ImageU8 disc(int height, int width, int y0, int x0) {
  ImageU8 mask(height, width);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      if ((y - y0) * (y - y0) + (x - x0) * (x - x0) < 9) mask.at(y, x) = 255;
  return mask;
}

TEST_CASE("a DICOM Segmentation holds the masks, refers to its source, and is the same again") {
  if (dicom_reader().empty()) {
    MESSAGE("SKIPPED: this build has no DCMTK");
    return;
  }
  test::TempFolder folder;
  const fs::path source = kGolden / "plain8.dcm";
  const std::vector<DicomSegment> segments{{"lungs", disc(8, 12, 4, 3)},
                                           {"heart", disc(8, 12, 3, 8)}};
  write_dicom_segmentation(source, segments, "0123456789abcdef", folder / "a.dcm");
  write_dicom_segmentation(source, segments, "0123456789abcdef", folder / "b.dcm");
  const auto bytes = [&](const char* name) { return read_bytes(folder / name, 1 << 20); };
  CHECK(bytes("a.dcm") == bytes("b.dcm"));
  const DicomSegmentation read = read_dicom_segmentation(folder / "a.dcm");
  REQUIRE(read.segments.size() == 2);
  CHECK(read.segments[0].organ == "lungs");
  CHECK(read.segments[1].organ == "heart");
  CHECK(read.segments[0].mask.pixels == segments[0].mask.pixels);
  CHECK(read.segments[1].mask.pixels == segments[1].mask.pixels);
  const DicomHeader from = read_dicom_header(source), made = read_dicom_header(folder / "a.dcm");
  CHECK(read.source_instance == from.sop_instance);
  CHECK(made.modality == "SEG");
  CHECK(made.study == from.study);
  CHECK(made.series != from.series);
  CHECK(made.patient_key() == from.patient_key());
  CHECK(made.sop_instance.starts_with("2.25."));
  CHECK(made.sop_instance.size() <= 64);
  // Another checkpoint, or another mask, is another object.
  write_dicom_segmentation(source, segments, "other", folder / "c.dcm");
  CHECK(read_dicom_segmentation(folder / "c.dcm").sop_instance != read.sop_instance);
  // A segmentation is no radiograph.
  CHECK(contains(error_of([&] { load_gray(folder / "a.dcm"); }), "is no radiograph"));

  // The mask of an image that was turned lies on the pixels as stored.
  const fs::path turned = kGolden / "oriented_fr.dcm";
  const Image seen = load_gray(turned);
  REQUIRE(seen.height == 12);
  ImageU8 corner(12, 8);
  corner.at(0, 7) = 255;  // its first stored pixel
  write_dicom_segmentation(turned, {{"lungs", corner}}, "x", folder / "t.dcm");
  const ImageU8 stored = read_dicom_segmentation(folder / "t.dcm").segments[0].mask;
  CHECK(stored.height == 8);
  CHECK(mask_area(stored) == 1);
  CHECK(seen.at(0, 7) == 0);
  CHECK(stored.at(0, 0) == 255);

  CHECK_ERROR(write_dicom_segmentation(source, {{"lungs", corner}}, "x", folder / "n.dcm"),
              "the mask of lungs is 8x12, the image 12x8 as stored");
  CHECK_ERROR(write_dicom_segmentation(source, {segments[0], segments[0]}, "x", folder / "n.dcm"),
              "names have 1 to 64 bytes and differ");
  save_image(folder / "x.png", ImageU8(8, 12));
  CHECK_ERROR(write_dicom_segmentation(folder / "x.png", segments, "x", folder / "n.dcm"),
              "refers to a DICOM image, and this is a PNG file");
  CHECK(!fs::exists(folder / "n.dcm"));
}

}  // namespace
}  // namespace thorax
