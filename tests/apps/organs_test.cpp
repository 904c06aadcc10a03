// Several organs through the command: training by softmax and by sigmoid, folds, segmenting, and
// the lungs of such a network where only lungs are wanted.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "apps/inference/mirror.h"
#include "data/csv.h"
#include "data/decode.h"
#include "data/decode_mask.h"
#include "data/encode.h"
#include "data/image.h"
#include "models/factory.h"
#include "tests/apps/tiny_models.h"
#include "tests/support/program.h"

using namespace thorax::test;
namespace fs = std::filesystem;

namespace {

void make_phantoms(const std::string& folder, const std::string& masks) {
  const Outcome made =
      run_thorax({"data", "phantoms", "--out", folder, "--masks", masks, "--patients", "8",
                  "--max-images", "1", "--size", "64", "--seed", "4"});
  INFO(made.output);
  REQUIRE(made.exit_code == 0);
}

std::vector<std::string> training(const std::string& data, const std::string& out,
                                  const std::vector<std::string>& more = {}) {
  std::vector<std::string> words{"train",   "segmenter", "--data", data,       "--size",
                                 "32",      "--width",   "4",      "--epochs", "2",
                                 "--batch", "2",         "--out",  out};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

// An untrained network of these organs; with probabilities one that gives every pixel these.
void save_organs(const std::string& path, int outputs, const std::string& organs,
                 const std::vector<double>& probabilities = {}, std::uint64_t seed = 3) {
  const auto model = thorax::create_model(
      {{"model", "unet"}, {"width", 2}, {"depth", 1}, {"out_channels", outputs}}, seed);
  if (!probabilities.empty()) {
    thorax::scale_(model->state_dict().at("head.weight"), 0);
    const bool softmax = organs.find("softmax") != std::string::npos;
    for (std::size_t c = 0; c < probabilities.size(); ++c) {
      const double p = probabilities[c];
      model->state_dict().at("head.bias").data<float>()[c] =
          static_cast<float>(std::log(softmax ? p : p / (1 - p)));
    }
  }
  thorax::save_model(
      *model, path,
      {{"thorax.input",
        R"({"task":"segmenter","size":32,"view":"whole","classes":[],)" + organs + "}"}});
}

}  // namespace

TEST_CASE("label maps: softmax, metrics of each organ, label maps out, lungs for a classifier") {
  const TemporaryFolder t;
  make_phantoms(t / "p", "labels");
  const std::string data = "manifest:" + (t / "p/manifest.csv");
  const Outcome seen = run_thorax({"data", "describe", "--data", data});
  CHECK(seen.output.find("Organs: lungs, heart") != std::string::npos);
  CHECK(seen.output.find("organ heart of phantom: label map, value 2; 8 images, 8 with it") !=
        std::string::npos);

  const Outcome trained = run_thorax(training(data, t / "run", {"--loss", "dice+ce"}));
  INFO(trained.output);
  REQUIRE(trained.exit_code == 0);
  CHECK(trained.output.find("heart") != std::string::npos);
  const auto config = nlohmann::json::parse(file_text(t / "run/config.json"));
  CHECK(config.at("organs").at("activation") == "softmax");
  CHECK(config.at("settings").at("loss") == "dice+ce");
  CHECK(config.at("settings").at("model").at("out_channels") == 3);
  CHECK(file_text(t / "run/metrics.jsonl").find("\"dice(lungs)\"") != std::string::npos);
  const auto table = thorax::CsvTable::read(t / "run/predictions.csv");
  REQUIRE(table.rows() > 0);
  CHECK(table.at(0, table.column("present(heart)")) == "1");
  // The logged figures are the means over the images that have the organ in truth or prediction.
  std::string last;
  std::istringstream lines(file_text(t / "run/metrics.jsonl"));
  for (std::string line; std::getline(lines, line);)
    if (line.find("\"epoch\"") != std::string::npos && line.find("dice(") != std::string::npos)
      last = line;
  const auto logged = nlohmann::json::parse(last);
  double mean = 0;
  for (const char* organ : {"lungs", "heart"}) {
    double sum = 0;
    int images = 0;
    for (std::int64_t row = 0; row < table.rows(); ++row) {
      const std::string& dice = table.at(row, table.column(std::string("dice(") + organ + ")"));
      const bool known =
          table.at(row, table.column(std::string("present(") + organ + ")")) == "1" ||
          table.at(row, table.column(std::string("predicted(") + organ + ")")) == "1";
      CHECK(known == !dice.empty());
      if (!known) continue;
      sum += std::stod(dice);
      ++images;
    }
    REQUIRE(images > 0);
    CHECK(logged.at(std::string("dice(") + organ + ")").get<double>() ==
          doctest::Approx(sum / images).epsilon(1e-6));
    mean += sum / images / 2;
  }
  CHECK(logged.at("dice").get<double>() == doctest::Approx(mean).epsilon(1e-6));
  const Outcome again = run_thorax(training(data, t / "run", {"--loss", "dice+ce", "--resume"}));
  CHECK(again.exit_code == 0);
  const Outcome other = run_thorax(training(data, t / "run", {"--loss", "dice", "--resume"}));
  CHECK(other.exit_code == 1);
  CHECK(other.output.find("loss") != std::string::npos);

  const std::string model = t / "run/last.safetensors";
  const Outcome cut =
      run_thorax({"segment", t / "p/CXR_png", "--model", model, "--out", t / "cut"});
  INFO(cut.output);
  REQUIRE(cut.exit_code == 0);
  const auto csv = thorax::CsvTable::read(t / "cut/segmentation.csv");
  const auto json = nlohmann::json::parse(file_text(t / "cut/segmentation.json"));
  REQUIRE(csv.rows() == 8);
  CHECK(json.at("values") == std::vector<int>{1, 2});
  for (std::int64_t row = 0; row < csv.rows(); ++row) {
    const std::string name = csv.at(row, csv.column("name"));
    CHECK(fs::exists(t / ("cut/overlays/" + name + ".png")));
    const thorax::MaskValues values =
        thorax::mask_values(thorax::load_mask_pixels(t / ("cut/labels/" + name + ".png")), name);
    CHECK(values.width == 64);
    for (const auto& [value, count] : values.pixels) CHECK(value <= 2);
    // The areas are those of the pictures.
    int value = 0;
    for (const char* organ : {"lungs", "heart"}) {
      ++value;
      const auto found = values.pixels.find(value);
      CHECK(std::stoll(csv.at(row, csv.column(std::string("pixels(") + organ + ")"))) ==
            (found == values.pixels.end() ? 0 : found->second));
    }
  }
  const Outcome rejected = run_thorax(
      {"segment", t / "p/CXR_png", "--model", model, "--out", t / "cut", "--min-area", "5"});
  CHECK(rejected.exit_code == 1);
  CHECK(rejected.output.find("finds lungs, heart") != std::string::npos);

  // As a segmenter of lungs.
  save_tiny_classifier(t / "c.safetensors");
  const Outcome lungs = run_thorax({"predict", t / "p/CXR_png", "--segmenter", model,
                                    "--classifier", t / "c.safetensors", "--min-area", "0"});
  INFO(lungs.output);
  CHECK(lungs.exit_code == 0);
}

TEST_CASE("masks of their own: a sigmoid each, masks by organ out, folds reported by organ") {
  const TemporaryFolder t;
  make_phantoms(t / "p", "organs");
  const std::string data = "manifest:" + (t / "p/manifest.csv");
  const Outcome refused =
      run_thorax(training(data, t / "run", {"--activation", "softmax", "--loss", "dice"}));
  CHECK(refused.exit_code == 1);
  CHECK(refused.output.find("lungs and heart share") != std::string::npos);
  CHECK_FALSE(fs::exists(t / "run"));
  const Outcome folds = run_thorax({"kfold", "segmenter", "--data", data, "--size", "32", "--width",
                                    "4", "--epochs", "1", "--batch", "4", "--folds", "2", "--loss",
                                    "generalised-dice", "--out", t / "k"});
  INFO(folds.output);
  REQUIRE(folds.exit_code == 0);
  CHECK(folds.output.find("Held-out images, by organ") != std::string::npos);
  const auto summary = nlohmann::json::parse(file_text(t / "k/crossval/summary.json"));
  CHECK(summary.contains("organs"));
  CHECK(file_text(t / "k/report.html").find("segmentation of lungs, heart") != std::string::npos);
  CHECK(fs::exists(t / "k/crossval/overlays/worst_1.png"));
  const Outcome cut =
      run_thorax({"segment", t / "p/CXR_png", "--model", t / "k/fold_0/last.safetensors", "--out",
                  t / "cut", "--postprocess", "none"});
  INFO(cut.output);
  REQUIRE(cut.exit_code == 0);
  for (const char* organ : {"lungs", "heart"}) {
    int files = 0;
    for (const auto& entry : fs::directory_iterator(t / (std::string("cut/masks/") + organ)))
      files += entry.path().extension() == ".png";
    CHECK(files == 8);
  }
}

TEST_CASE("a network of organs without lungs is refused where lungs are wanted") {
  const TemporaryFolder t;
  make_phantoms(t / "p", "lungs");
  save_tiny_classifier(t / "c.safetensors");
  const auto predict = [&](const std::string& model) {
    return run_thorax({"predict", t / "p/CXR_png", "--segmenter", model, "--classifier",
                       t / "c.safetensors", "--min-area", "0"});
  };
  save_organs(t / "m.safetensors", 3,
              R"("organs":["heart","aorta"],"values":[1,2],"activation":"softmax")");
  const Outcome none = predict(t / "m.safetensors");
  CHECK(none.exit_code == 1);
  CHECK(none.output.find("m.safetensors: finds heart, aorta, none of which is the lungs") !=
        std::string::npos);
  CHECK(none.output.find("--segmenter") != std::string::npos);
  const Outcome lungs = run_thorax({"segment", t / "p/CXR_png", "--model", t / "m.safetensors",
                                    "--out", t / "cut", "--postprocess", "lungs"});
  CHECK(lungs.exit_code == 1);
  CHECK(lungs.output.find("none of its organs (heart, aorta) is a lung") != std::string::npos);
  // Left and right are joined.
  save_organs(t / "sides.safetensors", 3,
              R"("organs":["left lung","heart","right lung"],"values":[1,2,3],)"
              R"("activation":"sigmoid")");
  const Outcome sides = predict(t / "sides.safetensors");
  INFO(sides.output);
  CHECK(sides.exit_code == 0);
  save_organs(t / "broken.safetensors", 3,
              R"("organs":["a","a"],"values":[1,2],"activation":"softmax")");
  const Outcome broken = predict(t / "broken.safetensors");
  CHECK(broken.exit_code == 1);
  CHECK(broken.output.find("every organ needs a name and a value") != std::string::npos);
}

TEST_CASE("several networks of organs: the mean of their probabilities, by organ") {
  const TemporaryFolder t;
  make_phantoms(t / "p", "lungs");
  const std::string softmax = R"("organs":["lungs","heart"],"values":[1,2],"activation":"softmax")";
  const std::string sigmoid = R"("organs":["lungs","heart"],"values":[1,2],"activation":"sigmoid")";
  const auto segment = [&](const std::vector<std::string>& models, int exit_code) {
    std::vector<std::string> words{"segment", t / "p/CXR_png", "--out",
                                   t / "cut", "--postprocess", "none"};
    for (const std::string& model : models) {
      words.emplace_back("--model");
      words.push_back(t / model);
    }
    const Outcome outcome = run_thorax(words);
    INFO(outcome.output);
    REQUIRE(outcome.exit_code == exit_code);
    return outcome.output;
  };
  // Organs found in the first image, 64 x 64.
  const auto found = [&](const std::vector<std::string>& models) {
    segment(models, 0);
    const auto csv = thorax::CsvTable::read(t / "cut/segmentation.csv");
    std::vector<std::string> names;
    for (const std::string name : {"lungs", "heart"})
      if (csv.at(0, csv.column("pixels(" + name + ")")) != "0") names.push_back(name);
    return names;
  };
  using Names = std::vector<std::string>;
  // Each of the two sees something else, and so would the mean of their logits (background).
  save_organs(t / "a", 3, softmax, {0.3, 0.699, 0.001});
  save_organs(t / "b", 3, softmax, {0.3, 0.002, 0.698});
  save_organs(t / "c", 3, softmax, {0.3, 0.001, 0.699});
  CHECK(found({"a"}) == Names{"lungs"});
  CHECK(found({"b"}) == Names{"heart"});
  CHECK(found({"a", "b"}) == Names{"lungs"});
  CHECK(found({"a", "b", "c"}) == Names{"heart"});
  save_organs(t / "d", 2, sigmoid, {0.9, 0.45});
  save_organs(t / "e", 2, sigmoid, {0.05, 0.6});
  CHECK(found({"d"}) == Names{"lungs"});
  CHECK(found({"d", "e"}) == Names{"heart"});

  CHECK(segment({"a", "d"}, 1)
            .find("/a and " + (t / "d") +
                  ": find lungs 1, heart 2 (softmax) and lungs 1, heart 2 "
                  "(sigmoid)") != std::string::npos);
  CHECK(segment({"a", "b", "a"}, 1).find("/a: is named twice") != std::string::npos);
}

TEST_CASE("mirror images of organs: turned back, left and right exchanged") {
  const TemporaryFolder t;
  // Of the size that masks are decided at: scaling to another one is not symmetric.
  REQUIRE(run_thorax({"data", "phantoms", "--out", t / "p", "--patients", "2", "--max-images", "1",
                      "--size", "512"})
              .exit_code == 0);
  fs::create_directories(t / "mirrored");
  for (const auto& entry : fs::directory_iterator(t / "p/CXR_png"))
    thorax::save_image(t.path() / "mirrored" / entry.path().filename(),
                       thorax::to_u8(thorax::mirror(thorax::load_gray(entry.path(), {}))));
  const auto segment = [&](const std::string& images, const std::string& out) {
    const Outcome outcome =
        run_thorax({"segment", t / images, "--model", t / "m.safetensors", "--tta", "flip", "--out",
                    t / out, "--postprocess", "none"});
    INFO(outcome.output);
    REQUIRE(outcome.exit_code == 0);
  };
  for (const std::string activation : {"softmax", "sigmoid"}) {
    CAPTURE(activation);
    save_organs(t / "m.safetensors", activation == "softmax" ? 4 : 3,
                R"("organs":["left lung","heart","right lung"],"values":[1,2,3],"activation":")" +
                    activation + "\"",
                {}, 7);
    segment("p/CXR_png", activation + "/cut");
    segment("mirrored", activation + "/cut_mirrored");
    const std::vector<std::pair<std::string, std::string>> folders =
        activation == "softmax"
            ? std::vector<std::pair<std::string, std::string>>{{"labels", "labels"}}
            : std::vector<std::pair<std::string, std::string>>{
                  {"masks/left lung", "masks/right lung"},
                  {"masks/heart", "masks/heart"},
                  {"masks/right lung", "masks/left lung"}};
    std::map<int, int> seen;
    for (const auto& [one, other] : folders)
      for (const auto& entry : fs::directory_iterator(t.path() / activation / "cut" / one)) {
        const auto mask = thorax::load_mask_pixels(entry.path()).values;
        const auto mirrored = thorax::load_mask_pixels(t.path() / activation / "cut_mirrored" /
                                                       other / entry.path().filename())
                                  .values;
        int wrong = 0;
        for (int y = 0; y < mask.height; ++y)
          for (int x = 0; x < mask.width; ++x) {
            const int value = mask.at(y, x), there = mirrored.at(y, mask.width - 1 - x);
            ++seen[value];
            wrong +=
                activation == "softmax" && value % 2 == 1 ? there != 4 - value : there != value;
          }
        CHECK(wrong < 50);  // of 262144, to the rounding of convolutions
      }
    CHECK(seen.size() > 1);
  }
  save_organs(t / "one.safetensors", 2,
              R"("organs":["left lung","heart"],"values":[1,2],"activation":"sigmoid")");
  const Outcome one = run_thorax({"segment", t / "mirrored", "--model", t / "one.safetensors",
                                  "--tta", "flip", "--out", t / "x"});
  CHECK(one.exit_code == 1);
  CHECK(one.output.find("left lung: in a mirror image the right one") != std::string::npos);
  CHECK_FALSE(fs::exists(t / "x"));
}

TEST_CASE("organs with sides are not learned from mirrored images") {
  const TemporaryFolder t;
  make_phantoms(t / "p", "labels");
  std::ofstream(t / "flips.json") << R"({"augment": {"flip_x_probability": 0.5}})";
  std::string manifest = file_text(t / "p/manifest.csv");
  for (std::size_t at; (at = manifest.find("lungs:1,heart:2")) != std::string::npos;)
    manifest.replace(at, 15, "left lung:1,right lung:2");
  std::ofstream(t / "p/sides.csv") << manifest;
  const auto train = [&](const std::string& name) {
    return run_thorax(
        training("manifest:" + (t / ("p/" + name)), t / "run", {"--config", t / "flips.json"}));
  };
  const Outcome refused = train("sides.csv");
  CHECK(refused.exit_code == 1);
  CHECK(refused.output.find("mirrored images show right lung where left lung is said to lie") !=
        std::string::npos);
  CHECK_FALSE(fs::exists(t / "run"));
  CHECK(train("manifest.csv").exit_code == 0);
}
