// How pixels and masks enter the commands: what is read, refused and said.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "data/csv.h"
#include "data/decode_mask.h"
#include "data/encode.h"
#include "engine/io/atomic_file.h"
#include "engine/io/safetensors.h"
#include "tests/support/program.h"

using namespace thorax::test;
namespace fs = std::filesystem;

namespace {

void make_phantoms(const std::string& folder) {
  const Outcome made = run_thorax({"data", "phantoms", "--out", folder, "--patients", "8",
                                   "--max-images", "1", "--size", "48", "--seed", "4"});
  INFO(made.output);
  REQUIRE(made.exit_code == 0);
}

std::vector<std::string> training(const std::string& phantoms, const std::string& out) {
  return {"train",    "segmenter", "--data",  "shenzhen:" + phantoms,
          "--size",   "16",        "--width", "4",
          "--epochs", "1",         "--batch", "4",
          "--seed",   "3",         "--out",   out};
}

// Every mask of the folder, changed.
template <class Change>
void change_masks(const std::string& phantoms, const Change& change) {
  for (const auto& entry : fs::directory_iterator(fs::path(phantoms) / "mask")) {
    thorax::ImageU8 mask = thorax::load_mask(entry.path());
    change(mask);
    thorax::save_image(entry.path(), mask);
  }
}

void write(const std::string& path, const std::vector<std::uint8_t>& bytes) {
  thorax::atomic_write(path, std::as_bytes(std::span(bytes)));
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE(
    "a segmenter learns the same from masks of 0/1 as from 0/255, and says how they are read") {
  const TemporaryFolder t;
  make_phantoms(t / "phantoms");
  const Outcome bright = run_thorax(training(t / "phantoms", t / "bright"));
  INFO(bright.output);
  REQUIRE(bright.exit_code == 0);
  CHECK(has(bright.output, "masks of shenzhen: 8 files with values 0, 255: inside is all but 0"));
  change_masks(t / "phantoms", [](thorax::ImageU8& mask) {
    for (std::uint8_t& v : mask.pixels) v = v ? 1 : 0;
  });
  const Outcome dark = run_thorax(training(t / "phantoms", t / "dark"));
  INFO(dark.output);
  REQUIRE(dark.exit_code == 0);
  CHECK(has(dark.output, "8 files with values 0, 1: inside is all but 0"));
  CHECK(file_text(t / "dark/predictions.csv") == file_text(t / "bright/predictions.csv"));
  const Outcome described =
      run_thorax({"data", "describe", "--data", "shenzhen:" + (t / "phantoms")});
  CHECK(has(described.output, "8 files with values 0, 1: inside is all but 0"));
}

TEST_CASE("a segmenter is not trained on masks that are empty, of another size, or in doubt") {
  const TemporaryFolder t;
  make_phantoms(t / "phantoms");
  const fs::path first = *fs::directory_iterator(t / "phantoms/mask");
  const thorax::ImageU8 good = thorax::load_mask(first);
  const auto refused = [&](const std::string& part) {
    const Outcome outcome = run_thorax(training(t / "phantoms", t / "run"));
    CHECK_MESSAGE(outcome.exit_code == 1, outcome.output);
    CHECK_MESSAGE(has(outcome.output, part), "wanted '" << part << "' in:\n" << outcome.output);
    CHECK_FALSE(fs::exists(t / "run"));
  };
  thorax::save_image(first, thorax::ImageU8(47, 48));
  refused(first.filename().string() + ": mask is 48x47, its image");
  write(first.string(), {'n', 'o'});
  refused(first.filename().string() + ": no image of a format that is read");
  thorax::ImageU8 gray = good;
  for (std::size_t i = 0; i < gray.pixels.size() / 2; ++i) gray.pixels[i] = gray.pixels[i] ? 90 : 0;
  thorax::save_image(first, gray);
  refused("mask_values=nonzero");
  thorax::save_image(first, good);
  change_masks(t / "phantoms",
               [](thorax::ImageU8& mask) { std::fill(mask.pixels.begin(), mask.pixels.end(), 0); });
  refused("of 8 masks 8 are empty and 0 full");
}

TEST_CASE("images that show nothing are rejected with the reason; the depth is part of the model") {
  const TemporaryFolder t;
  make_phantoms(t / "phantoms");
  std::vector<std::string> arguments = training(t / "phantoms", t / "lungs");
  arguments.insert(arguments.end(), {"--intensity", "percentiles"});
  const Outcome trained = run_thorax(arguments);
  INFO(trained.output);
  REQUIRE(trained.exit_code == 0);
  const std::string model = t / "lungs/last.safetensors";
  CHECK(has(thorax::read_safetensors_header(model).metadata.at("thorax.input"),
            "\"intensity\":\"percentiles\""));
  CHECK(has(file_text(t / "lungs/config.json"), "\"intensity\": \"percentiles\""));

  fs::create_directories(t / "in");
  write(t / "in/flat.png", thorax::encode_png(thorax::ImageU8(40, 30, 1, 90)));
  thorax::ImageU16 deep(40, 30);
  for (std::size_t i = 0; i < deep.pixels.size(); ++i)
    deep.pixels[i] = static_cast<std::uint16_t>(3 * i);
  write(t / "in/deep.png", thorax::encode_png(deep));
  const Outcome cut =
      run_thorax({"segment", t / "in", "--model", model, "--out", t / "cut", "--min-area", "0"});
  INFO(cut.output);
  REQUIRE(cut.exit_code == 0);
  CHECK(has(cut.output, "note: 12-bit values in 16 bits, read as 12-bit: 1 image (deep.png)"));
  CHECK(has(cut.output, "1 rejected (show nothing)"));
  const auto table = thorax::CsvTable::read(t / "cut/segmentation.csv");
  REQUIRE(table.rows() == 2);
  CHECK(table.at(1, table.column("kept")) == "0");
  CHECK(has(table.at(1, table.column("reason")), "shows nothing: 99 % of its gray values"));
  CHECK(thorax::mask_area(thorax::load_mask(t / "cut/masks/flat.png")) == 0);
  const Outcome other = run_thorax({"segment", t / "in", "--model", model, "--out", t / "cut",
                                    "--min-area", "0", "--intensity", "full"});
  CHECK(has(other.output, "was trained with percentiles"));
  CHECK(has(other.output, "read over the full range"));

  const Outcome classifier = run_thorax(
      {"train", "classifier", "--data", "manifest:" + (t / "phantoms/manifest.csv"), "--model",
       "resnet18", "--size", "32", "--epochs", "1", "--batch", "4", "--out", t / "class"});
  INFO(classifier.output);
  REQUIRE(classifier.exit_code == 0);
  const Outcome verdict =
      run_thorax({"predict", t / "in/flat.png", "--classifier", t / "class/last.safetensors",
                  "--segmenter", model, "--json"});
  INFO(verdict.output);
  REQUIRE(verdict.exit_code == 0);
  const auto row = nlohmann::json::parse(verdict.output).at(0);
  CHECK(row.at("verdict") == "rejected");
  CHECK(row.at("probability").is_null());
  CHECK(has(row.at("reason"), "shows nothing"));
}
