// `thorax data duplicates`, through the command.
#include <doctest/doctest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "data/csv.h"
#include "data/decode.h"
#include "data/encode.h"
#include "data/phantom.h"
#include "tests/support/program.h"

using namespace thorax::test;
namespace fs = std::filesystem;

TEST_CASE("data duplicates: table, files, joined patients, folds; wrong use") {
  const TemporaryFolder t;
  const auto phantom = [](int patient) {
    return thorax::make_phantom({.size = 256, .patients = 8, .seed = 5}, patient, 0).image;
  };
  fs::create_directories(t / "x");
  std::string manifest = "path,label,patient,source\n";
  nlohmann::json ids;
  const auto add = [&](const std::string& name, const thorax::Image& image, const char* label,
                       const char* patient) {
    thorax::save_image(t / ("x/" + name), image);
    manifest += name + "," + label + "," + patient + ",x\n";
    ids[name] = "x/" + name;
  };
  add("a.png", phantom(0), "COVID-19", "p");
  add("b.png", phantom(1), "COVID-19", "q");
  add("c.png", phantom(2), "non-COVID", "r");
  add("d.png", phantom(3), "non-COVID", "s");
  add("e.png", thorax::crop(phantom(1), 20, 30, 220, 210), "COVID-19", "u");
  std::ofstream(t / "x/manifest.csv") << manifest;
  const nlohmann::json splits{{"seed", 0},
                              {"group", "patient"},
                              {"kind", "cross-validation"},
                              {"folds",
                               {{{"train", {ids["a.png"], ids["c.png"], ids["e.png"]}},
                                 {"validation", {ids["b.png"], ids["d.png"]}}},
                                {{"train", {ids["b.png"], ids["d.png"]}},
                                 {"validation", {ids["a.png"], ids["c.png"], ids["e.png"]}}}}}};
  std::ofstream(t / "splits.json") << splits.dump();
  const std::string data = "manifest:" + (t / "x/manifest.csv");

  const Outcome text = run_thorax(
      {"data", "duplicates", "--data", data, "--splits", t / "splits.json", "--out", t / "twice"});
  INFO(text.output);
  REQUIRE(text.exit_code == 0);
  CHECK(text.output.find("5 images, 1 pairs show the same radiograph") != std::string::npos);
  CHECK(text.output.find("b.png | e.png") != std::string::npos);
  CHECK(text.output.find(" 0  1!") != std::string::npos);
  CHECK(text.output.find("1 on both sides of a fold") != std::string::npos);
  CHECK(text.output.find("one patient? ") != std::string::npos);
  const auto json = nlohmann::json::parse(file_text(t / "twice/duplicates.json"));
  REQUIRE(json["pairs"].size() == 1);
  CHECK(json["pairs"][0]["a_in_b"]["left"].get<double>() ==
        doctest::Approx(-30.0 / 210).epsilon(0.05));
  CHECK(json["pairs"][0]["crosses_folds"] == true);
  CHECK(thorax::CsvTable::read(t / "twice/duplicates.csv").rows() == 1);
  CHECK(thorax::read_image_info(t / "twice/pairs_00.png").channels == 3);
  // The manifest reads back, with one patient fewer.
  const Outcome again = run_thorax(
      {"data", "describe", "--json", "--data", "manifest:" + (t / "twice/manifest.csv")});
  INFO(again.output);
  REQUIRE(again.exit_code == 0);
  CHECK(nlohmann::json::parse(again.output)["patients"] == 4);

  const Outcome printed = run_thorax({"data", "duplicates", "--data", data, "--json"});
  CHECK(nlohmann::json::parse(printed.output)["pairs"].size() == 1);
  CHECK(run_thorax({"data", "duplicates", "--data", data, "--min-correlation", "7"}).exit_code ==
        2);
  std::ofstream(t / "x/c.png") << "no image";
  const Outcome broken = run_thorax({"data", "duplicates", "--data", data});
  CHECK(broken.exit_code == 1);
  CHECK(broken.output.find("c.png") != std::string::npos);
  const Outcome skipped = run_thorax({"data", "duplicates", "--data", data, "--on-error", "skip"});
  CHECK(skipped.exit_code == 0);
  CHECK(skipped.output.find("1 images could not be read") != std::string::npos);
}
