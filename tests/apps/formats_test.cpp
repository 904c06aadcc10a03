// Images and masks of other formats through the commands.
#include <doctest/doctest.h>

#include <fmt/format.h>

#include <filesystem>
#include <span>

#include "data/decode_mask.h"
#include "data/encode.h"
#include "data/formats/nifti.h"
#include "engine/io/atomic_file.h"
#include "tests/apps/tiny_models.h"
#include "tests/support/program.h"

using namespace thorax::test;
namespace fs = std::filesystem;

namespace {

void write(const fs::path& path, const std::vector<std::uint8_t>& bytes) {
  fs::create_directories(path.parent_path());
  thorax::atomic_write(path, std::as_bytes(std::span(bytes)));
}

std::vector<std::uint8_t> npy(const thorax::ImageU8& image) {
  const std::string header = fmt::format(
      "{{'descr': '|u1', 'fortran_order': False, 'shape': ({}, {}), }}", image.height, image.width);
  std::vector<std::uint8_t> out = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};
  out.push_back(static_cast<std::uint8_t>(header.size()));
  out.push_back(0);
  out.insert(out.end(), header.begin(), header.end());
  out.insert(out.end(), image.pixels.begin(), image.pixels.end());
  return out;
}

thorax::ImageU8 radiograph() {
  thorax::ImageU8 image(40, 56);
  for (int y = 0; y < 40; ++y)
    for (int x = 0; x < 56; ++x) image.at(y, x) = static_cast<std::uint8_t>(3 * y + 2 * x);
  return image;
}

}  // namespace

TEST_CASE("segment: the same pixels as PNG, .npy and .nii.gz give the same masks; masks as NIfTI") {
  const TemporaryFolder t;
  save_tiny_segmenter(t / "s.safetensors");
  write(fs::path(t / "in") / "a.png", thorax::encode_png(radiograph()));
  write(fs::path(t / "in") / "b.npy", npy(radiograph()));
  write(fs::path(t / "in") / "c.nii.gz", thorax::encode_nifti(radiograph()));
  const std::vector<std::string> segment = {"segment", t / "in",  "--model",    t / "s.safetensors",
                                            "--out",   t / "cut", "--min-area", "0"};
  const Outcome png = run_thorax(segment);
  INFO(png.output);
  REQUIRE(png.exit_code == 0);
  const fs::path masks = fs::path(t / "cut") / "masks";
  const thorax::ImageU8 mask =
      thorax::load_mask(masks / "a.png", thorax::parse_mask_rule("nonzero"));
  for (const char* name : {"b.png", "c.png"})
    CHECK(file_text((masks / name).string()) == file_text((masks / "a.png").string()));
  std::vector<std::string> nifti = segment;
  nifti.insert(nifti.end(), {"--format", "nifti"});
  const Outcome again = run_thorax(nifti);
  INFO(again.output);
  REQUIRE(again.exit_code == 0);
  CHECK_FALSE(fs::exists(masks / "a.png"));
  const thorax::MaskPixels stored = thorax::load_mask_pixels(masks / "a.nii.gz");
  REQUIRE(stored.values.height == 40);
  REQUIRE(stored.values.width == 56);
  for (std::size_t i = 0; i < mask.pixels.size(); ++i)
    CHECK(255 * stored.values.pixels[i] == mask.pixels[i]);
}

TEST_CASE("data describe: NIfTI masks beside PNG images; info lists the formats") {
  const TemporaryFolder t;
  thorax::ImageU8 mask(40, 56);
  for (int y = 10; y < 20; ++y)
    for (int x = 12; x < 30; ++x) mask.at(y, x) = 1;
  for (const char* name : {"a", "b"}) {
    write(fs::path(t / "d") / "images" / (std::string(name) + ".png"),
          thorax::encode_png(radiograph()));
    write(fs::path(t / "d") / "masks" / (std::string(name) + ".nii.gz"),
          thorax::encode_nifti(mask));
  }
  const Outcome described = run_thorax({"data", "describe", "--data", "folder:" + (t / "d")});
  INFO(described.output);
  CHECK(described.exit_code == 0);
  CHECK(described.output.find("2 files with values 0, 1: inside is all but 0") !=
        std::string::npos);
  const Outcome info = run_thorax({"info"});
  for (const char* name : {"PNG", "JPEG", "TIFF", "NumPy", "NIfTI", ".nii.gz"})
    CHECK_MESSAGE(info.output.find(name) != std::string::npos, info.output);
}
