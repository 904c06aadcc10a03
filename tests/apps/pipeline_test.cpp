// The whole way on phantoms, through the command.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "data/csv.h"
#include "data/decode.h"
#include "tests/apps/commands.h"

using namespace thorax::test;
namespace fs = std::filesystem;

namespace {

void make_phantoms(const std::string& folder) {
  const Outcome made = run_thorax({"data", "phantoms", "--out", folder, "--patients", "10",
                                   "--max-images", "2", "--size", "64", "--seed", "4"});
  INFO(made.output);
  REQUIRE(made.exit_code == 0);
}

std::vector<std::string> train_segmenter(const std::string& phantoms, const std::string& out) {
  return {"train",
          "segmenter",
          "--data",
          "shenzhen:" + phantoms,
          "--size",
          "32",
          "--width",
          "4",
          "--epochs",
          "3",
          "--batch",
          "2",
          "--augment",
          "study",
          "--checkpoint-seconds",
          "1",
          "--out",
          out};
}

}  // namespace

TEST_CASE("phantoms to verdict: every subcommand does its part") {
  const TemporaryFolder t;
  make_phantoms(t / "phantoms");
  const Outcome seg = run_thorax(train_segmenter(t / "phantoms", t / "lungs"));
  INFO(seg.output);
  REQUIRE(seg.exit_code == 0);
  CHECK(seg.output.find("Dice") != std::string::npos);
  const std::string model = t / "lungs/last.safetensors";
  // Beside each held-out image's overlap stands how far its outlines are apart, in pixels.
  const auto held_out = thorax::CsvTable::read(t / "lungs/predictions.csv");
  REQUIRE(held_out.rows() > 0);
  int with_distance = 0;
  for (std::int64_t row = 0; row < held_out.rows(); ++row) {
    const std::string& distance = held_out.at(row, held_out.column("hausdorff95"));
    const double dice = std::stod(held_out.at(row, held_out.column("dice")));
    if (distance.empty()) {
      CHECK(dice == 0);  // nothing was found, or nothing was there
      continue;
    }
    ++with_distance;
    CHECK(std::stod(distance) >= 0);
    CHECK(std::stod(distance) <= 31 * std::sqrt(2.0));
  }
  CHECK(with_distance > 0);

  const Outcome cut = run_thorax(
      {"segment", t / "phantoms/CXR_png", "--model", model, "--out", t / "cut", "--min-area", "0"});
  INFO(cut.output);
  REQUIRE(cut.exit_code == 0);
  int masks = 0;
  for (const auto& entry : fs::directory_iterator(t / "cut/masks")) {
    const thorax::ImageInfo info = thorax::read_image_info(entry.path());
    CHECK(info.width == 64);
    CHECK(info.height == 64);
    const fs::path name = entry.path().filename();
    CHECK(fs::exists(fs::path(t / "cut/lungs") / name));
    CHECK(fs::exists(fs::path(t / "cut/overlays") / name));
    ++masks;
  }
  CHECK(masks >= 10);
  const std::string csv = file_text(t / "cut/segmentation.csv");
  CHECK(std::count(csv.begin(), csv.end(), '\n') == masks + 1);
  // With an impossible threshold everything is rejected and nothing is left in lungs/.
  const Outcome none = run_thorax({"segment", t / "phantoms/CXR_png", "--model", model, "--out",
                                   t / "cut", "--min-area", "300000"});
  CHECK(none.output.find(" 0 kept") != std::string::npos);
  CHECK(fs::is_empty(t / "cut/lungs"));

  const Outcome folds = run_thorax({"kfold",       "classifier",
                                    "--data",      "manifest:" + (t / "phantoms/manifest.csv"),
                                    "--segmenter", model,
                                    "--min-area",  "0",
                                    "--model",     "hrnet_w18_small_v2",
                                    "--size",      "64",
                                    "--epochs",    "1",
                                    "--batch",     "4",
                                    "--folds",     "2",
                                    "--out",       t / "kfold"});
  INFO(folds.output);
  REQUIRE(folds.exit_code == 0);
  CHECK(folds.output.find("AUC") != std::string::npos);
  const auto summary = nlohmann::json::parse(file_text(t / "kfold/crossval/summary.json"));
  CHECK(summary.at("images").contains("figures"));
  // Every image is predicted exactly once.
  std::size_t rows = 0;
  for (const char* fold : {"kfold/fold_0", "kfold/fold_1"}) {
    const std::string predictions = file_text(t / (std::string(fold) + "/predictions.csv"));
    rows += static_cast<std::size_t>(std::count(predictions.begin(), predictions.end(), '\n')) - 1;
  }
  CHECK(rows == static_cast<std::size_t>(masks));

  const Outcome verdict = run_thorax(
      {"predict", t / "phantoms/CXR_png", "--segmenter", model, "--min-area", "0", "--classifier",
       t / "kfold/fold_0/last.safetensors", "--out", t / "seen", "--json"});
  INFO(verdict.output);
  REQUIRE(verdict.exit_code == 0);
  const auto json = nlohmann::json::parse(verdict.output);
  REQUIRE(json.size() == static_cast<std::size_t>(masks));
  for (const auto& row : json) {
    CHECK(row.at("probability").get<double>() > 0);
    CHECK(row.at("probability").get<double>() < 1);
    CHECK(fs::exists(row.at("overlay").get<std::string>()));
  }
}

TEST_CASE("the study's baselines train, checkpoint and predict as the HRNet does") {
  const TemporaryFolder t;
  make_phantoms(t / "phantoms");
  // Small networks from a file of settings, and of the published ones the smallest by name.
  std::ofstream(t / "resnet.json")
      << R"({"model": {"model": "resnet50", "in_channels": 1, "head": "study", "outputs": 1,
                       "hidden": [8], "layers": [1, 1, 1, 1], "stem": 8, "width": 4}})";
  std::ofstream(t / "densenet.json")
      << R"({"model": {"model": "densenet121", "in_channels": 1, "head": "study", "outputs": 1,
                       "hidden": [8], "growth": 4, "blocks": [2, 2, 2], "recompute": true}})";
  const std::vector<std::pair<std::string, std::vector<std::string>>> runs{
      {"resnet", {"--config", t / "resnet.json"}},
      {"densenet", {"--config", t / "densenet.json"}},
      {"resnet_sim", {"--config", t / "resnet.json", "--device", "sim"}},
      {"densenet_sim", {"--config", t / "densenet.json", "--device", "sim"}},
      {"resnet18", {"--model", "resnet18"}},
      {"densenet121", {"--model", "densenet121"}}};
  std::map<std::string, double> losses;
  for (const auto& [name, options] : runs) {
    CAPTURE(name);
    const Outcome trained =
        run_thorax(std::vector<std::string>{
                       "train", "classifier", "--data", "manifest:" + (t / "phantoms/manifest.csv"),
                       "--size", "64", "--epochs", "1", "--batch", "4", "--out", t / name} +
                   options);
    INFO(trained.output);
    REQUIRE(trained.exit_code == 0);
    CHECK(trained.output.find("auc") != std::string::npos);
    std::ifstream metrics(t / (name + "/metrics.jsonl"));
    std::string line, last;
    while (std::getline(metrics, line)) last = line;
    losses[name] = nlohmann::json::parse(last).at("train_loss").get<double>();
    if (name.ends_with("_sim")) continue;
    const Outcome verdict =
        run_thorax({"predict", t / "phantoms/CXR_png", "--classifier",
                    t / (name + "/last.safetensors"), "--out", t / (name + "_seen"), "--json"});
    INFO(verdict.output);
    REQUIRE(verdict.exit_code == 0);
    for (const auto& row : nlohmann::json::parse(verdict.output)) {
      CHECK(row.at("probability").get<double>() > 0);
      CHECK(row.at("probability").get<double>() < 1);
    }
  }
  CHECK(losses["resnet_sim"] == doctest::Approx(losses["resnet"]).epsilon(1e-3));
  CHECK(losses["densenet_sim"] == doctest::Approx(losses["densenet"]).epsilon(1e-3));
  // Another network's checkpoint does not continue.
  const Outcome other =
      run_thorax({"train", "classifier", "--data", "manifest:" + (t / "phantoms/manifest.csv"),
                  "--size", "64", "--epochs", "1", "--batch", "4", "--out", t / "resnet18",
                  "--resume", "--model", "resnet34"});
  CHECK(other.exit_code == 1);
  CHECK(other.output.find("model") != std::string::npos);
}

TEST_CASE(
    "the same seed gives the same bytes, with one thread and with two, killed and resumed or not") {
  const TemporaryFolder t;
  make_phantoms(t / "phantoms");
  REQUIRE(run_thorax(train_segmenter(t / "phantoms", t / "a") +
                     std::vector<std::string>{"--threads", "1"})
              .exit_code == 0);
  REQUIRE(run_thorax(train_segmenter(t / "phantoms", t / "b") +
                     std::vector<std::string>{"--threads", "2", "--workers", "2"})
              .exit_code == 0);
  const std::string truth = file_text(t / "a/last.safetensors");
  REQUIRE(!truth.empty());
  CHECK(file_text(t / "b/last.safetensors") == truth);

  const std::vector<std::string> resumed =
      train_segmenter(t / "phantoms", t / "c") + std::vector<std::string>{"--resume"};
  // As if killed while its first file was being written.
  fs::create_directories(t / "c");
  std::ofstream(t / "c/config.json.tmp-0123456789abcdef") << "{";
  int killed = 0;
  for (const int milliseconds : {30, 120, 250, 400, 600, 900})
    killed += run_thorax(resumed, milliseconds).exit_code == -1;
  CHECK(killed > 0);
  const Outcome stopped = run_thorax(resumed, 150, SIGINT);
  CHECK((stopped.exit_code == 3 || stopped.exit_code == 0 || stopped.exit_code == -1));
  const Outcome last = run_thorax(resumed);
  INFO(last.output);
  REQUIRE(last.exit_code == 0);
  CHECK(file_text(t / "c/last.safetensors") == truth);
}

TEST_CASE("wrong use ends with a clear message and nothing changed") {
  const TemporaryFolder t;
  CHECK(run_thorax({}).exit_code == 2);
  const Outcome unknown = run_thorax({"nonsense"});
  CHECK(unknown.exit_code == 2);
  CHECK(unknown.output.find("nonsense") != std::string::npos);
  const Outcome missing =
      run_thorax({"segment", t / "no.png", "--model", t / "no.safetensors", "--out", t / "o"});
  CHECK(missing.exit_code == 1);
  CHECK(missing.output.find("no.png") != std::string::npos);

  make_phantoms(t / "phantoms");
  const auto command = train_segmenter(t / "phantoms", t / "run");
  REQUIRE(run_thorax(command).exit_code == 0);
  const std::string before = file_text(t / "run/last.safetensors");
  const Outcome again = run_thorax(command);
  CHECK(again.exit_code == 1);
  CHECK(again.output.find("--resume") != std::string::npos);
  const Outcome changed = run_thorax(command + std::vector<std::string>{"--resume", "--lr", "0.5"});
  CHECK(changed.exit_code == 1);
  CHECK(changed.output.find("schedule") != std::string::npos);
  CHECK(file_text(t / "run/last.safetensors") == before);
  const Outcome provider = run_thorax(train_segmenter(t / "phantoms", t / "p") +
                                      std::vector<std::string>{"--provider", "conv2d=cudnn"});
  CHECK(provider.exit_code == 1);
  CHECK(provider.output.find("cudnn") != std::string::npos);
  const Outcome negative =
      run_thorax(train_segmenter(t / "phantoms", t / "n") + std::vector<std::string>{"--lr", "-1"});
  CHECK(negative.exit_code == 2);
  CHECK(negative.output.find("--lr: -1 is not within 1e-30 to") != std::string::npos);
  // Nothing to learn from: said before a folder is made.
  const Outcome maskless =
      run_thorax({"train", "segmenter", "--data",
                  fmt::format("shenzhen:{},mask=none", t / "phantoms"), "--out", t / "m"});
  CHECK(maskless.exit_code == 1);
  CHECK(maskless.output.find("learns from lung masks") != std::string::npos);
  const Outcome one_class =
      run_thorax({"train", "classifier", "--data",
                  fmt::format("shenzhen:{},class=a", t / "phantoms"), "--out", t / "m"});
  CHECK(one_class.exit_code == 1);
  CHECK(one_class.output.find("two classes, the data has 1: a") != std::string::npos);
  CHECK_FALSE(fs::exists(t / "m"));
  // A segmenter is no classifier.
  const Outcome mixed =
      run_thorax({"predict", t / "phantoms/CXR_png", "--classifier", t / "run/last.safetensors"});
  CHECK(mixed.exit_code == 1);
  CHECK(mixed.output.find("holds a segmenter") != std::string::npos);
  // One corrupt image: named and fatal, or skipped.
  std::ofstream(t / "phantoms/CXR_png/broken.png") << "no image";
  const std::vector<std::string> segment{
      "segment", t / "phantoms/CXR_png", "--model", t / "run/last.safetensors", "--out", t / "cut"};
  const Outcome corrupt = run_thorax(segment);
  CHECK(corrupt.exit_code == 1);
  CHECK(corrupt.output.find("broken.png") != std::string::npos);
  const Outcome skipped = run_thorax(segment + std::vector<std::string>{"--on-error", "skip"});
  CHECK(skipped.exit_code == 0);
  CHECK(skipped.output.find("1 unreadable") != std::string::npos);
}
