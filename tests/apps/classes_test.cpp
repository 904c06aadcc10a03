// Classes through the command: their order, what is refused, which threshold a verdict goes by.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "data/csv.h"
#include "engine/io/safetensors.h"
#include "engine/train/checkpoint.h"
#include "tests/support/program.h"

using namespace thorax::test;
namespace fs = std::filesystem;

namespace {

using Arguments = std::vector<std::string>;

Arguments operator+(Arguments a, const Arguments& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::string run(const Arguments& arguments, int wanted = 0) {
  const Outcome outcome = run_thorax(arguments);
  INFO(outcome.output);
  REQUIRE(outcome.exit_code == wanted);
  return outcome.output;
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Phantoms of 20 patients as class folders of these names; a narrow network's settings.
struct Folders {
  TemporaryFolder folder;
  Folders(const std::string& negative, const std::string& positive) {
    run({"data", "phantoms", "--out", folder / "ph", "--patients", "20", "--max-images", "1",
         "--size", "48", "--seed", "4"});
    for (const std::string& name : {negative, positive})
      fs::create_directories(folder.path() / "d" / name);
    for (const auto& entry : fs::directory_iterator(folder.path() / "ph/CXR_png")) {
      const bool ill = entry.path().stem().string().ends_with("_1");
      fs::copy_file(entry.path(),
                    folder.path() / "d" / (ill ? positive : negative) / entry.path().filename());
    }
    std::ofstream(folder / "narrow.json") << R"({"model": {"model": "resnet18", "in_channels": 1,
      "head": "study", "hidden": [8], "outputs": 1, "stem": 4, "width": 4}})";
  }
  Arguments with(const Arguments& what, const std::string& options = "") const {
    return what + Arguments{"--config",  folder / "narrow.json",
                            "--data",    "folder:" + (folder / "d") + options,
                            "--size",    "48",
                            "--epochs",  "1",
                            "--batch",   "4",
                            "--augment", "none"};
  }
};

}  // namespace

TEST_CASE("classes nobody can order: describe says what train refuses, and nothing is written") {
  const Folders f("left", "right");
  const std::string described = run({"data", "describe", "--data", "folder:" + (f.folder / "d")});
  const Arguments train = f.with({"train", "classifier", "--out", f.folder / "run"});
  const std::string refused = run(train, 1);
  for (const std::string& text : {described, refused}) {
    CHECK(has(text,
              "which of the classes is the positive one cannot be told from their names: left ("));
    CHECK(has(text, "positive=NAME"));
  }
  CHECK_FALSE(fs::exists(f.folder / "run"));
  // Three classes, and images of none: the same in both commands.
  fs::create_directories(f.folder.path() / "d/middle");
  fs::copy_file(f.folder.path() / "ph/CXR_png/PHANTOM_0000_0_0.png",
                f.folder.path() / "d/middle/PHANTOM_0000_0_0.png");
  const std::string three = "folder:" + (f.folder / "d");
  CHECK(has(run({"data", "describe", "--data", three}), "classes=A,B"));
  CHECK(has(run(train, 1), "classes=A,B"));
  CHECK_FALSE(fs::exists(f.folder / "run"));
  const auto json = nlohmann::json::parse(
      run({"data", "describe", "--data", three + ",classes=left,right,positive=left", "--json"}));
  CHECK(json.at("positive") == "left");
  CHECK(json.at("classifier_problem").is_null());
}

TEST_CASE(
    "the positive class is named everywhere, and predict goes by the checkpoint's threshold") {
  const Folders f("left", "right");
  const std::string out = run(
      f.with({"kfold", "classifier", "--folds", "2", "--heatmaps", "0", "--out", f.folder / "k"},
             ",positive=left"));
  CHECK(has(out, "(positive)"));
  CHECK(has(out, "Positive class: left; negative: right."));
  CHECK(has(file_text(f.folder / "k/report.html"), "positive class left, negative right"));
  const auto summary = nlohmann::json::parse(file_text(f.folder / "k/crossval/summary.json"));
  CHECK(summary.at("positive") == "left");
  const auto folds = thorax::CsvTable::read(f.folder / "k/crossval/folds.csv");
  REQUIRE(folds.rows() == 5);
  CHECK(folds.at(4, 0) == "folds with a value");
  CHECK(folds.at(4, folds.column("AUC")) == "2");

  const std::string model = f.folder / "k/fold_0/last.safetensors";
  const auto metadata = thorax::read_safetensors_header(model).metadata;
  const auto input = nlohmann::json::parse(metadata.at("thorax.input"));
  CHECK(input.at("classes") == nlohmann::json({"right", "left"}));
  CHECK(input.at("positive") == "left");
  const auto chosen = nlohmann::json::parse(metadata.at("thorax.threshold"));
  const auto thresholds = thorax::CsvTable::read(f.folder / "k/crossval/thresholds.csv");
  CHECK(std::stod(thresholds.at(0, thresholds.column("threshold"))) == chosen.at("threshold"));

  const Arguments predict{"predict", f.folder / "ph/CXR_png", "--classifier", model};
  const std::string text = run(predict);
  CHECK(has(text,
            fmt::format("verdict left from P = {:.4g} (the checkpoint's: Youden's point of its ",
                        chosen.at("threshold").get<double>())));
  CHECK(has(text, "P(left)"));
  const auto verdicts = [&](const Arguments& more, double threshold) {
    for (const auto& row : nlohmann::json::parse(run(predict + Arguments{"--json"} + more))) {
      CHECK(row.at("positive_class") == "left");
      CHECK(row.at("threshold") == threshold);
      CHECK(row.at("verdict") ==
            (row.at("probability").get<double>() >= threshold ? "left" : "right"));
    }
  };
  verdicts({}, chosen.at("threshold"));
  verdicts({"--threshold", "0.25"}, 0.25);

  // As older programs wrote it: without threshold, the positive class not named.
  thorax::Checkpoint old = thorax::load_checkpoint(model);
  nlohmann::json before = input;
  before.erase("positive");
  old.texts["thorax.input"] = before.dump();
  old.texts.erase("thorax.threshold");
  thorax::save_checkpoint(f.folder / "old.safetensors", old);
  const std::string said =
      run({"predict", f.folder / "ph/CXR_png", "--classifier", f.folder / "old.safetensors"});
  CHECK(has(said, "was written before checkpoints named the positive class"));
  CHECK(has(said, "right, left: left"));
  CHECK(has(said, "verdict left from P = 0.5 (the checkpoint has no threshold of its own)"));
}

TEST_CASE(
    "a network that cannot do the task is named with those that can; one split has no folds") {
  const Folders f("normal", "sick");
  CHECK(has(run({"train", "segmenter", "--model", "resnet18", "--data", "folder:x", "--out",
                 f.folder / "s"},
                1),
            "[segmenter] --model resnet18: is a classifier; a segmenter is one of: unet"));
  CHECK(has(
      run({"train", "classifier", "--model", "unet", "--data", "folder:x", "--out", f.folder / "s"},
          1),
      "[classifier] --model unet: is a segmenter; a classifier is one of: hrnet_w18"));
  // One sick patient.
  bool first = true;
  for (const auto& entry : fs::directory_iterator(f.folder.path() / "d/sick"))
    if (!std::exchange(first, false)) fs::remove(entry.path());
  const std::string refused = run(f.with({"train", "classifier", "--out", f.folder / "run"}), 1);
  CHECK(has(refused, "class 'sick' has 1 of the "));
  CHECK_FALSE(has(refused, "fewer folds"));
  CHECK(has(run(f.with({"kfold", "classifier", "--folds", "2", "--out", f.folder / "k"}), 1),
            "class 'sick' has 1 patients, fewer than the 2 folds"));
}
