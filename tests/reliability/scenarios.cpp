#include "tests/reliability/scenarios.h"

#include <fmt/format.h>

#include <fstream>
#include <stdexcept>

#include "tests/reliability/process.h"

namespace thorax::reliability {

namespace fs = std::filesystem;

namespace {

Arguments operator+(Arguments a, const Arguments& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// The smallest networks that still have every kind of layer of theirs.
constexpr const char* kUNet =
    R"({"model": {"model": "unet", "width": 2, "depth": 1}, "size": 16, "batch": 4})";
#define THORAX_MODEL                                                                          \
  R"({"model": "resnet18", "in_channels": 1, "head": "study", "hidden": [4], "outputs": 1, )" \
  R"("stem": 2, "width": 2, "layers": [1, 1, 1, 1]})"
constexpr const char* kModel = THORAX_MODEL;
constexpr const char* kResNet =
    R"({"model": )" THORAX_MODEL
    R"(, "size": 32, "batch": 4, "epochs": 1, "folds": 2, "min_area": 0})";

Arguments segmenter(const fs::path& inputs, const std::string& seed) {
  return {"train",
          "segmenter",
          "--config",
          inputs / "unet.json",
          "--data",
          "shenzhen:" + (inputs / "phantoms").string(),
          "--epochs",
          "3",
          "--seed",
          seed,
          "--validation-share",
          "0.3",
          "--threads",
          "1",
          "--out",
          "out"};
}

Arguments classifier(const fs::path& inputs) {
  return {"--config",  inputs / "resnet.json",
          "--data",    "manifest:" + (inputs / "phantoms/manifest.csv").string(),
          "--threads", "1",
          "--out",     "out"};
}

}  // namespace

void make_inputs(const fs::path& thorax, const fs::path& inputs) {
  fs::remove_all(inputs);
  fs::create_directories(inputs);
  std::ofstream(inputs / "unet.json") << kUNet;
  std::ofstream(inputs / "resnet.json") << kResNet;
  const auto make = [&](const Arguments& arguments) {
    const ProcessOutcome made =
        run_process({.arguments = Arguments{thorax} + arguments, .folder = inputs});
    if (made.exit_code != 0)
      throw std::runtime_error(
          fmt::format("thorax {} failed: {}", fmt::join(arguments, " "), made.output));
  };
  make({"data", "phantoms", "--out", "phantoms", "--patients", "8", "--max-images", "1", "--size",
        "32", "--seed", "4", "--threads", "1"});
  make({"data", "phantoms", "--out", "others", "--patients", "2", "--max-images", "1", "--size",
        "32", "--seed", "5", "--threads", "1"});
  for (const char* seed : {"1", "2"}) {
    Arguments train = segmenter(inputs, seed);
    train.back() = std::string("lungs_") + seed;
    make(train);
  }
  Arguments train = Arguments{"train", "classifier"} + classifier(inputs);
  train.back() = "classifier";
  make(train);
  std::ofstream(inputs / "model.json") << kModel;
}

std::vector<Scenario> all_scenarios(const fs::path& inputs) {
  const Arguments resume{"--resume"}, overwrite{"--overwrite"};
  const std::string images = inputs / "phantoms/CXR_png",
                    lungs = inputs / "lungs_1/last.safetensors",
                    other_lungs = inputs / "lungs_2/last.safetensors",
                    model = inputs / "classifier/last.safetensors";
  const Arguments train = segmenter(inputs, "1");
  const Arguments with_lungs = classifier(inputs) + Arguments{"--segmenter", lungs};
  std::vector<Scenario> all;
  const auto add = [&](Scenario s) { all.push_back(std::move(s)); };
  // A run of a folder: resumed.
  const auto run = [&](const char* name, const Arguments& command) {
    add({name, {}, command, command + resume});
  };
  // Files replaced one by one: done again.
  const auto replace = [&](const char* name, const Arguments& earlier, const Arguments& command) {
    add({name, {earlier}, command, command, true});
  };
  run("train segmenter", train);
  add({"train --overwrite", {segmenter(inputs, "2")}, train + overwrite, train + overwrite});
  run("train classifier", Arguments{"train", "classifier"} + with_lungs);
  run("kfold", Arguments{"kfold", "classifier", "--heatmaps", "1"} + with_lungs);
  run("compare", Arguments{"compare", "--models", "resnet18", "--heatmaps", "1"} + with_lungs);
  run("audit", Arguments{"audit", "--model", "resnet18", "--heatmaps", "1"} + with_lungs);
  const auto segment = [&](const std::string& by) {
    return Arguments{"segment", images,       "--model", by,          "--out",
                     "out",     "--min-area", "0",       "--threads", "1"};
  };
  replace("segment", segment(other_lungs), segment(lungs));
  const auto predict = [&](const std::string& by) {
    return Arguments{"predict", images, "--segmenter", by,  "--classifier", model,
                     "--out",   "out",  "--min-area",  "0", "--threads",    "1"};
  };
  replace("predict", predict(other_lungs), predict(lungs));
  const auto convert = [&](const std::string& seed) {
    return Arguments{"weights",
                     "convert",
                     inputs / "classifier/best.safetensors",
                     "--model",
                     "resnet18",
                     "--config",
                     inputs / "model.json",
                     "--seed",
                     seed,
                     "--out",
                     "out.safetensors"};
  };
  replace("weights convert", convert("1"), convert("2"));
  const auto phantoms = [](const std::string& seed) {
    return Arguments{"data",         "phantoms", "--out",  "out", "--patients", "4",
                     "--max-images", "1",        "--size", "32",  "--threads",  "1",
                     "--seed",       seed};
  };
  replace("data phantoms", phantoms("1"), phantoms("2"));
  const auto describe = [&](const char* which) {
    return Arguments{
        "data",  "describe", "--data",    "manifest:" + (inputs / which / "manifest.csv").string(),
        "--out", "out",      "--threads", "1"};
  };
  replace("data describe", describe("others"), describe("phantoms"));
  return all;
}

}  // namespace thorax::reliability
