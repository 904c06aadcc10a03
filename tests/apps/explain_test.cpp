// `thorax explain` on phantoms, through the command.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "data/csv.h"
#include "data/decode.h"
#include "tests/apps/commands.h"

using namespace thorax::test;
namespace fs = std::filesystem;

namespace {

// Progress goes to stderr, which is in the output, too.
nlohmann::json json_in(const std::string& output) {
  return nlohmann::json::parse(output.substr(output.find("{\n")));
}

void says(const std::vector<std::string>& arguments, const std::string& wanted, int code = 1) {
  const std::string output = run(arguments, code);
  INFO(output);
  CHECK(output.find(wanted) != std::string::npos);
}

}  // namespace

TEST_CASE("explain: pictures, table, figures per class; segmenter or masks; wrong use") {
  const TemporaryFolder t;
  run({"data", "phantoms", "--out", t / "ph", "--patients", "10", "--max-images", "1", "--size",
       "64", "--seed", "4"});
  const std::string manifest = "manifest:" + (t / "ph/manifest.csv");
  run({"train", "segmenter", "--data", "shenzhen:" + (t / "ph"), "--size", "32", "--width", "4",
       "--epochs", "1", "--batch", "2", "--out", t / "lungs"});
  const std::string segmenter = t / "lungs/last.safetensors";
  const auto classifier = [&](const std::string& name, const std::vector<std::string>& more) {
    run(std::vector<std::string>{"train", "classifier", "--data", manifest, "--model",
                                 "hrnet_w18_small_v2", "--size", "64", "--epochs", "1", "--batch",
                                 "4", "--out", t / name} +
        more);
    return t / (name + "/last.safetensors");
  };
  const std::string whole = classifier("whole", {});
  const std::string cut = classifier("cut", {"--segmenter", segmenter, "--min-area", "0"});

  const std::string layers = run({"explain", "--list-layers", "--classifier", whole});
  CHECK(layers.find("stage4.1.branches.3") != std::string::npos);
  CHECK(layers.find("1x2x2x2048  (the default)") != std::string::npos);
  const auto json =
      nlohmann::json::parse(run({"explain", "--list-layers", "--classifier", whole, "--json"}));
  CHECK(json.back() ==
        nlohmann::json({{"layer", "final_layer"}, {"shape", {1, 2, 2, 2048}}, {"default", true}}));

  // A labelled data set with masks: both classes, both figures.
  const std::vector<std::string> base{"explain", "--data", manifest, "--classifier",
                                      whole,     "--out",  t / "why"};
  const std::string text =
      run(base + std::vector<std::string>{"--masks", "--raw", "--layer", "stage4.1.fuse_layers.0",
                                          "--class", "positive", "--method", "layer-cam"});
  CHECK(text.find("COVID-19 ") != std::string::npos);
  const auto summary = nlohmann::json::parse(file_text(t / "why/summary.json"));
  REQUIRE(summary["classes"].size() == 3);
  CHECK(summary["layer"] == "stage4.1.fuse_layers.0");
  CHECK(summary["classes"][2]["class"] == "all");
  CHECK(summary["classes"][2]["images"] == 10);
  CHECK(summary["classes"][0]["images"].get<int>() + summary["classes"][1]["images"].get<int>() ==
        10);
  const thorax::CsvTable csv = thorax::CsvTable::read(t / "why/heatmaps.csv");
  REQUIRE(csv.rows() == 10);
  double sum = 0;
  for (std::int64_t i = 0; i < csv.rows(); ++i) {
    const auto number = [&](const char* column) {
      return std::stod(csv.at(i, csv.column(column)));
    };
    CHECK(csv.at(i, csv.column("explained")) == "COVID-19");
    CHECK(csv.at(i, csv.column("method")) == "layer-cam");
    CHECK(number("lung_area") > 0.05);
    CHECK(number("energy_in_lungs") <= 1);
    CHECK(number("energy_ratio") ==
          doctest::Approx(number("energy_in_lungs") / number("lung_area")).epsilon(1e-3));
    sum += number("energy_in_lungs");
    const fs::path picture = fs::path(t / "why") / csv.at(i, csv.column("overlay"));
    CHECK(thorax::read_image_info(picture).width > 2 * 64);
    const thorax::ImageInfo map = thorax::read_image_info(t / "why/maps" / picture.filename());
    CHECK(map.width == 64);
    CHECK(map.bits == 16);
  }
  CHECK(summary["classes"][2]["energy_in_lungs"]["mean"].get<double>() ==
        doctest::Approx(sum / 10).epsilon(1e-4));
  // The probability is predict's.
  const auto predicted =
      nlohmann::json::parse(run({"predict", t / "ph/CXR_png", "--classifier", whole, "--json"}));
  for (const auto& row : predicted)
    for (std::int64_t i = 0; i < csv.rows(); ++i)
      if (csv.at(i, csv.column("image")) == row["image"])
        CHECK(std::stod(csv.at(i, csv.column("probability"))) ==
              doctest::Approx(row["probability"].get<double>()).epsilon(1e-4));

  // Files by themselves: one group. A segmenter gives the lungs that a lungs-only classifier needs.
  const auto files =
      json_in(run({"explain", t / "ph/CXR_png", "--classifier", cut, "--segmenter", segmenter,
                   "--min-area", "0", "--out", t / "files", "--json", "--method", "grad-cam++"}));
  REQUIRE(files["classes"].size() == 1);
  CHECK(files["classes"][0]["images"] == 10);
  // Without lungs: heatmaps, but no figures.
  const auto none = json_in(
      run({"explain", t / "ph/CXR_png", "--classifier", whole, "--out", t / "none", "--json"}));
  CHECK(none["classes"][0]["without_lungs"] == 10);
  CHECK(none["classes"][0]["energy_in_lungs"]["mean"].is_null());
  // They are counted as maps all the same.
  const std::string told =
      run({"explain", t / "ph/CXR_png", "--classifier", whole, "--out", t / "none"});
  const auto maps = 10 - none["classes"][0]["empty_maps"].get<int>();
  CHECK(told.find(fmt::format("{:<14} {:>6} {:>6}  {:>15}", "all", 10, maps, "-")) !=
        std::string::npos);
  // With an impossible threshold a lungs-only classifier sees nothing.
  const auto rejected =
      json_in(run({"explain", t / "ph/CXR_png", "--classifier", cut, "--segmenter", segmenter,
                   "--min-area", "300000", "--out", t / "rejected", "--json"}));
  CHECK(rejected["rejected"] == 10);
  CHECK(rejected["classes"][0]["images"] == 0);

  says(base + std::vector<std::string>{"--layer", "layer9"},
       "no layer 'layer9'; there are: stem 1x16x16x64, layer1");
  says(base + std::vector<std::string>{"--method", "magic"}, "grad-cam++", 2);
  says({"explain", t / "ph/CXR_png", "--classifier", cut, "--out", t / "x"},
       "needs the lungs: give --segmenter");
  says({"explain", t / "ph/CXR_png", "--classifier", segmenter, "--out", t / "x"},
       "holds a segmenter");
  says({"explain", t / "ph/CXR_png", "--masks", "--classifier", whole, "--out", t / "x"},
       "--masks uses the masks of --data");
  says({"explain", t / "ph/CXR_png", "--classifier", whole}, "--out is missing");
  says({"explain", "--classifier", whole, "--out", t / "x"}, "give images or folders, or --data");
  CHECK(!fs::exists(t / "x"));
  std::ofstream(t / "ph/CXR_png/broken.png") << "no image";
  const std::vector<std::string> broken{"explain", t / "ph/CXR_png", "--classifier",
                                        whole,     "--out",          t / "broken"};
  says(broken, "broken.png");
  run(broken + std::vector<std::string>{"--on-error", "skip"});
}
