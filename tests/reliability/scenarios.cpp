#include "tests/reliability/scenarios.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <stdexcept>
#include <tuple>

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

Arguments segmenter(const fs::path& inputs, const std::string& data, const std::string& seed) {
  return {"train", "segmenter", "--config", inputs / "unet.json", "--data", data,        "--epochs",
          "3",     "--seed",    seed,       "--validation-share", "0.3",    "--threads", "1",
          "--out", "out"};
}

Arguments classifier(const fs::path& inputs, const std::vector<std::string>& data) {
  Arguments all{"--config", inputs / "resnet.json"};
  for (const std::string& source : data) all = std::move(all) + Arguments{"--data", source};
  return std::move(all) + Arguments{"--threads", "1", "--out", "out"};
}

// Where a scenario's images come from.
struct Images {
  std::string segmenter;                // --data of a segmenter
  std::vector<std::string> classifier;  // --data of a classifier
  std::vector<std::string> inputs;      // of segment, predict and explain
};
Images phantoms(const fs::path& inputs) {
  return {"shenzhen:" + (inputs / "phantoms").string(),
          {"manifest:" + (inputs / "phantoms/manifest.csv").string()},
          {inputs / "phantoms/CXR_png"}};
}
Images real_images(const fs::path& data) {
  const std::string nih = "nih:" + (data / "nih").string();
  std::vector<std::string> radiographs;
  for (const auto& entry : fs::directory_iterator(data / "montgomery/CXR_png"))
    radiographs.push_back(entry.path());
  std::sort(radiographs.begin(), radiographs.end());
  radiographs.resize(std::min<std::size_t>(radiographs.size(), 2));
  return {"shenzhen:" + (data / "shenzhen").string() + ",count=8",
          {nih + ",finding=Pneumonia,class=pneumonia,positive=pneumonia,count=4", nih + ",count=4"},
          radiographs};
}

// A safetensors file of one tensor, for `thorax op`.
void write_tensor(const fs::path& path) {
  const std::string header =
      R"({"input":{"dtype":"F32","shape":[2,3,4,4],"data_offsets":[0,384]}})";
  std::string text;
  for (int shift = 0; shift < 64; shift += 8)
    text += static_cast<char>(header.size() >> shift & 255);
  text += header;
  for (int i = 0; i < 96; ++i) text += std::string("\0\0\x80\x3f", 4);  // 1.0
  std::ofstream(path, std::ios::binary) << text;
}

void make(const fs::path& thorax, const fs::path& inputs, const Arguments& arguments) {
  const ProcessOutcome made =
      run_process({.arguments = Arguments{thorax} + arguments, .folder = inputs});
  if (made.exit_code != 0)
    throw std::runtime_error(
        fmt::format("thorax {} failed: {}", fmt::join(arguments, " "), made.output));
}

void begin_inputs(const fs::path& inputs) {
  fs::remove_all(inputs);
  fs::create_directories(inputs);
  std::ofstream(inputs / "unet.json") << kUNet;
  std::ofstream(inputs / "resnet.json") << kResNet;
  std::ofstream(inputs / "model.json") << kModel;
}

void make_networks(const fs::path& thorax, const fs::path& inputs, const Images& images) {
  for (const char* seed : {"1", "2"}) {
    Arguments train = segmenter(inputs, images.segmenter, seed);
    train.back() = std::string("lungs_") + seed;
    make(thorax, inputs, train);
  }
  Arguments train = Arguments{"train", "classifier"} + classifier(inputs, images.classifier);
  train.back() = "classifier";
  make(thorax, inputs, train);
}

// Of runs and of commands that replace files: with phantoms and with real images.
struct Common {
  Images images;
  fs::path lungs, other_lungs, model;
  Arguments train, with_lungs;
  Common(Images from, const fs::path& inputs)
      : images(std::move(from)),
        lungs(inputs / "lungs_1/last.safetensors"),
        other_lungs(inputs / "lungs_2/last.safetensors"),
        model(inputs / "classifier/last.safetensors"),
        train(segmenter(inputs, images.segmenter, "1")),
        with_lungs(classifier(inputs, images.classifier) + Arguments{"--segmenter", lungs}) {}
  Arguments segment(const std::string& by) const {
    return Arguments{"segment"} + images.inputs +
           Arguments{"--model", by, "--out", "out", "--min-area", "0", "--threads", "1"};
  }
  Arguments predict(const std::string& by) const {
    return Arguments{"predict"} + images.inputs +
           Arguments{"--segmenter", by,  "--classifier", model, "--out", "out",
                     "--min-area",  "0", "--threads",    "1"};
  }
};

// A run of a folder: resumed.
Scenario run_of(const char* name, const Arguments& command) {
  return {name, {}, command, command + Arguments{"--resume"}};
}
// Files replaced one by one: done again.
Scenario replacing(const char* name, const Arguments& earlier, const Arguments& command) {
  return {name, {earlier}, command, command, true};
}

}  // namespace

void make_inputs(const fs::path& thorax, const fs::path& inputs) {
  begin_inputs(inputs);
  for (const auto& [out, patients, seed] : {std::tuple{"phantoms", "8", "4"}, {"others", "2", "5"}})
    make(thorax, inputs,
         {"data", "phantoms", "--out", out, "--patients", patients, "--max-images", "1", "--size",
          "32", "--seed", seed, "--threads", "1"});
  make_networks(thorax, inputs, phantoms(inputs));
  fs::copy_file(inputs / "phantoms/CXR_png/PHANTOM_0000_0_0.png",
                inputs / "classifier/picture.png");
  write_tensor(inputs / "tensor.safetensors");
}

void make_real_inputs(const fs::path& thorax, const fs::path& data, const fs::path& inputs) {
  begin_inputs(inputs);
  make_networks(thorax, inputs, real_images(data));
}

std::vector<Scenario> real_scenarios(const fs::path& data, const fs::path& inputs) {
  const Common c(real_images(data), inputs);
  // Overlays of heatmaps have the size of their images, which are large.
  return {
      run_of("train segmenter", c.train),
      run_of("train classifier", Arguments{"train", "classifier"} + c.with_lungs),
      run_of("kfold", Arguments{"kfold", "classifier", "--heatmaps", "0"} + c.with_lungs),
      run_of("compare",
             Arguments{"compare", "--models", "resnet18", "--heatmaps", "0"} + c.with_lungs),
      run_of("audit", Arguments{"audit", "--model", "resnet18", "--heatmaps", "0"} + c.with_lungs),
      replacing("segment", c.segment(c.other_lungs), c.segment(c.lungs)),
      replacing("predict", c.predict(c.other_lungs), c.predict(c.lungs))};
}

std::vector<Scenario> all_scenarios(const fs::path& inputs) {
  const Common c(phantoms(inputs), inputs);
  const Arguments resume{"--resume"}, overwrite{"--overwrite"};
  std::vector<Scenario> all;
  const auto add = [&](Scenario s) { all.push_back(std::move(s)); };
  const auto run = [&](const char* name, const Arguments& command) { add(run_of(name, command)); };
  const auto replace = [&](const char* name, const Arguments& earlier, const Arguments& command) {
    add(replacing(name, earlier, command));
  };
  run("train segmenter", c.train);
  add({"train --overwrite",
       {segmenter(inputs, c.images.segmenter, "2")},
       c.train + overwrite,
       c.train + overwrite});
  run("train classifier", Arguments{"train", "classifier"} + c.with_lungs);
  // Tensors of 64 KiB and more, so that the simulated GPU runs out of memory in the middle, too.
  Arguments on_gpu =
      c.train + Arguments{"--device", "sim", "--size", "32", "--width", "8", "--batch", "2"};
  *(std::find(on_gpu.begin(), on_gpu.end(), "--epochs") + 1) = "1";
  run("train on a simulated GPU", on_gpu);
  run("kfold", Arguments{"kfold", "classifier", "--heatmaps", "1"} + c.with_lungs);
  Arguments lungs = c.train;
  lungs[0] = "kfold";
  lungs.erase(std::find(lungs.begin(), lungs.end(), "--validation-share"),
              std::find(lungs.begin(), lungs.end(), "--threads"));
  run("kfold segmenter", lungs + Arguments{"--folds", "2"});
  const Arguments compare =
      Arguments{"compare", "--models", "resnet18", "--heatmaps", "1"} + c.with_lungs;
  run("compare", compare);
  // Rows of two machines in one folder.
  Arguments elsewhere = compare + Arguments{"--only", "resnet18-lungs"};
  *(std::find(elsewhere.begin(), elsewhere.end(), "--out") + 1) = "elsewhere";
  const Arguments merge = compare + Arguments{"--merge", "elsewhere", "--resume"};
  add({"compare --merge",
       {compare + Arguments{"--only", "resnet18-whole"}, elsewhere},
       merge,
       merge});
  run("audit", Arguments{"audit", "--model", "resnet18", "--heatmaps", "1"} + c.with_lungs);
  replace("segment", c.segment(c.other_lungs), c.segment(c.lungs));
  replace("predict", c.predict(c.other_lungs), c.predict(c.lungs));
  const auto explain = [&](const char* method) {
    return Arguments{"explain"} + c.images.inputs +
           Arguments{"--classifier", c.model, "--segmenter", c.lungs, "--min-area", "0", "--method",
                     method,         "--raw", "--out",       "out",   "--threads",  "1"};
  };
  replace("explain", explain("eigen-cam"), explain("grad-cam"));
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
  const auto onnx = [&](const char* preprocess) {
    return Arguments{"export", c.model, "--onnx", "out.onnx", "--preprocess", preprocess};
  };
  replace("export", onnx("caller"), onnx("graph"));
  const auto op = [&](const char* name) {
    return Arguments{
        "op",        name, "--inputs", inputs / "tensor.safetensors", "--output", "out.safetensors",
        "--threads", "1"};
  };
  replace("op", op("sigmoid"), op("relu"));
  replace("runs --metrics", {"runs", inputs / "lungs_1", "--metrics", "out.csv"},
          {"runs", inputs, "--metrics", "out.csv"});
  // The event file of the classifier is extended by its pictures; the others are made.
  const auto board = [&](const fs::path& runs, const char* images) {
    return Arguments{"runs", runs, "--tensorboard", "out", "--images", images};
  };
  add({"runs --tensorboard",
       {board(inputs / "classifier", "0")},
       board(inputs, "2"),
       board(inputs, "2")});
  const auto draw = [](const std::string& seed) {
    return Arguments{"data",         "phantoms", "--out",  "out", "--patients", "4",
                     "--max-images", "1",        "--size", "32",  "--threads",  "1",
                     "--seed",       seed};
  };
  replace("data phantoms", draw("1"), draw("2"));
  const auto describe = [&](const char* which) {
    return Arguments{
        "data",  "describe", "--data",    "manifest:" + (inputs / which / "manifest.csv").string(),
        "--out", "out",      "--threads", "1"};
  };
  replace("data describe", describe("others"), describe("phantoms"));
  const auto figures = [&](const char* seed) {
    return Arguments{"data",        "figures", "--data", c.images.classifier[0],
                     "--segmenter", c.lungs,   "--seed", seed,
                     "--per-class", "2",       "--out",  "out",
                     "--threads",   "1"};
  };
  replace("data figures", figures("1"), figures("2"));
  const auto duplicates = [&](const char* least) {
    return Arguments{
        "data", "duplicates", "--data", c.images.classifier[0], "--min-correlation", least, "--out",
        "out",  "--threads",  "1"};
  };
  replace("data duplicates", duplicates("0.5"), duplicates("0.6"));
  return all;
}

}  // namespace thorax::reliability
