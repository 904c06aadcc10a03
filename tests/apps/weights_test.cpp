// `thorax weights`: what is in a file, and from published weights to a model file.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "engine/io/safetensors.h"
#include "models/factory.h"
#include "tests/apps/tiny_models.h"
#include "tests/support/check.h"
#include "tests/support/places.h"
#include "tests/support/program.h"

using namespace thorax::test;
using nlohmann::json;

namespace {

const json kTiny = {{"growth", 2}, {"blocks", {2, 1}}, {"outputs", 7}};

// A published file as torchvision's first ones: old names, no batch counts, three channels.
thorax::StateDict publish(const std::string& path) {
  json config = kTiny;
  config["model"] = "densenet121";
  const auto model = thorax::create_model(config, 11);
  thorax::StateDict old;
  for (const auto& [name, tensor] : model->state_dict()) {
    if (name.ends_with("num_batches_tracked")) continue;
    std::string before = name;
    for (const char* part : {"norm1.", "norm2.", "conv1.", "conv2."})
      if (const auto at = before.find(part); at != std::string::npos) before.insert(at + 4, ".");
    old[before] = tensor;
  }
  thorax::save_weights(path, old, {{"format", "pt"}, {"evil", "\x1b[2J\nname"}});
  return model->state_dict();
}

void write_text(const std::string& path, const std::string& text) {
  std::ofstream(path) << text;
}

void fails(const std::vector<std::string>& arguments, int code, const std::string& wanted) {
  const Outcome outcome = run_thorax(arguments);
  INFO(outcome.output);
  CHECK(outcome.exit_code == code);
  CHECK(outcome.output.find(wanted) != std::string::npos);
}

}  // namespace

TEST_CASE("weights show: tensors, metadata, totals") {
  const TemporaryFolder t;
  const std::string file = t / "old.safetensors";
  const thorax::StateDict dict = publish(file);
  std::int64_t parameters = 0, statistics = 0;
  for (const auto& [name, tensor] : dict)
    if (name.find("running_") != std::string::npos) {
      statistics += tensor.numel();
    } else if (!name.ends_with("num_batches_tracked")) {
      parameters += tensor.numel();
    }
  const json shown = json::parse(run_thorax({"weights", "show", file, "--json"}).output);
  CHECK(shown["totals"]["parameters"] == parameters);
  CHECK(shown["totals"]["other_values"] == statistics);
  CHECK(shown["totals"]["bytes"] == 4 * (parameters + statistics));
  CHECK(shown["totals"]["tensors"] == shown["tensors"].size());
  CHECK(shown["metadata"]["evil"] == "\x1b[2J\nname");
  const json first{{"name", "features.conv0.weight"},
                   {"dtype", "f32"},
                   {"shape", {4, 3, 7, 7}},
                   {"parameters", 588}};
  CHECK(std::find(shown["tensors"].begin(), shown["tensors"].end(), first) !=
        shown["tensors"].end());

  const std::string text = run_thorax({"weights", "show", file}).output;
  CHECK(text.find("features.conv0.weight ") != std::string::npos);
  CHECK(text.find(" 4x3x7x7 ") != std::string::npos);
  CHECK(text.find("format: pt") != std::string::npos);
  // A terminal is not to obey what stands in a file.
  CHECK(text.find('\x1b') == std::string::npos);
  CHECK(text.find("evil: \\u001b[2J\\u000aname") != std::string::npos);

  fails({"weights", "show", t / "none.safetensors"}, 1, "none.safetensors");
  write_text(t / "junk.safetensors", "this is no safetensors file");
  fails({"weights", "show", t / "junk.safetensors"}, 1, "junk.safetensors");
  fails({"weights"}, 2, "subcommand");
}

TEST_CASE("weights convert: old names, gray images, the study's head") {
  const TemporaryFolder t;
  const std::string file = t / "old.safetensors", out = t / "new.safetensors";
  const thorax::StateDict published = publish(file);
  json keys = kTiny;
  write_text(t / "keys.json", keys.dump());
  const std::vector<std::string> command{"weights",       "convert",     file,
                                         "--model",       "densenet121", "--config",
                                         t / "keys.json", "--out",       out};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), command.begin(), command.end());
    return more;
  };

  const Outcome same = run_thorax(command);
  INFO(same.output);
  REQUIRE(same.exit_code == 0);
  CHECK(same.output.find("renamed   30") != std::string::npos);
  CHECK(same.output.find("features.denseblock1.denselayer1.conv.1.weight -> "
                         "features.denseblock1.denselayer1.conv1.weight") != std::string::npos);
  CHECK(same.output.find("left out") == std::string::npos);
  const auto model = thorax::load_model(out);
  for (const auto& [name, tensor] : model->state_dict())
    CHECK_MESSAGE(same_values(tensor, published.at(name)), name);
  CHECK(thorax::read_safetensors_header(out).metadata.at("thorax.source") == "old.safetensors");

  keys.erase("outputs");
  write_text(t / "keys.json", keys.dump());
  const Outcome study = run_thorax(with({"--in-channels", "1", "--head", "study", "--json"}));
  INFO(study.output);
  REQUIRE(study.exit_code == 0);
  const json report = json::parse(study.output);
  CHECK(report["adapted"] == json{"features.conv0.weight: 3 channels summed to 1"});
  CHECK(report["left_out"] == json{"classifier.bias", "classifier.weight"});
  CHECK(report["renamed"].size() == 30);
  CHECK(report["model"]["head"] == "study");
  const auto gray = thorax::load_model(out);
  const float* rgb = published.at("features.conv0.weight").data<float>();
  CHECK(gray->state_dict().at("features.conv0.weight").data<float>()[0] ==
        rgb[0] + rgb[1] + rgb[2]);
  CHECK(gray->state_dict().at("features.norm5.weight").shape() ==
        published.at("features.norm5.weight").shape());

  fails(with({"--head", "big"}), 2, "big");
  fails(with({"--model", "resnet18"}), 2, "--model");
  fails({"weights", "convert", file, "--model", "vgg", "--out", out}, 2, "vgg");
  fails({"weights", "convert", file, "--model", "resnet18", "--out", t / "x"}, 1,
        "missing from the file: bn1.bias");
  fails({"weights", "convert", file, "--model", "densenet121", "--config", t / "keys.json", "--out",
         file},
        1, "name another --out");
  fails({"weights", "convert", file, "--model", "unet", "--head", "study", "--out", t / "x"}, 1,
        "'unet': unknown key 'head'");
  write_text(t / "keys.json", "[1]");
  fails(command, 1, "keys.json: wants a JSON object");
  CHECK(!std::filesystem::exists(t / "x"));
}

TEST_CASE("weights of PyTorch: shown and converted as those of safetensors") {
  const TemporaryFolder t;
  const std::filesystem::path golden = source_folder() / "tests/golden/pytorch";
  const std::string file = golden / "checkpoint.pth";
  const json shown = json::parse(run_thorax({"weights", "show", file, "--json"}).output);
  const json safe = json::parse(
      run_thorax({"weights", "show", golden / "resnet_basic.safetensors", "--json"}).output);
  CHECK(shown["totals"]["parameters"] == safe["totals"]["parameters"]);
  CHECK(shown["totals"]["tensors"] == safe["totals"]["tensors"]);
  CHECK(shown["notes"] == json{"a PyTorch checkpoint: its entry 'state_dict' is taken; not read: "
                               "epoch, arch, best_acc, args, optimizer, seen"});
  write_text(t / "keys.json", R"({"layers":[2,1,1,1],"width":3,"outputs":3})");
  const Outcome converted =
      run_thorax({"weights", "convert", file, "--model", "resnet18", "--config", t / "keys.json",
                  "--in-channels", "1", "--out", t / "net.safetensors"});
  INFO(converted.output);
  REQUIRE(converted.exit_code == 0);
  CHECK(converted.output.find("its entry 'state_dict' is taken") != std::string::npos);
  CHECK(converted.output.find("prefix    'module.' taken off") != std::string::npos);
  const auto model = thorax::load_model(t / "net.safetensors");
  const thorax::StateDict wanted = thorax::load_weights(golden / "resnet_basic.safetensors");
  for (const auto& [name, tensor] : model->state_dict())
    CHECK_MESSAGE(same_values(tensor, wanted.at(name)), name);
  fails({"weights", "show", golden / "hostile_system.pth"}, 1, "names 'posix.system'");
  CHECK(!std::filesystem::exists("executed"));
}

TEST_CASE("train --weights says what was renamed, adapted, left out and left as initialised") {
  const TemporaryFolder t;
  const std::string file = t / "old.safetensors";
  publish(file);
  REQUIRE(run_thorax({"data", "phantoms", "--out", t / "ph", "--patients", "9", "--max-images", "1",
                      "--size", "64"})
              .exit_code == 0);
  json config = kTiny;
  config.erase("outputs");
  config.update({{"model", "densenet121"}, {"in_channels", 1}, {"head", "study"}, {"outputs", 1}});
  config["hidden"] = {4};
  write_text(t / "c.json", json{{"model", config}}.dump());
  // Seven of nine images to train on, in batches of two: the last one, alone on 1 x 1 maps, is left
  // out.
  const Outcome run =
      run_thorax({"train", "classifier", "--data", "manifest:" + (t / "ph/manifest.csv"),
                  "--config", t / "c.json", "--weights", file, "--size", "32", "--epochs", "1",
                  "--batch", "2", "--out", t / "run"});
  INFO(run.output);
  REQUIRE(run.exit_code == 0);
  for (const char* wanted :
       {"30 renamed from an older version: features.denseblock1.denselayer1.conv.1.weight",
        "1 adapted: features.conv0.weight: 3 channels summed to 1",
        "2 of its head left out: classifier.bias, classifier.weight",
        "4 not in the file, left as initialised: head.fc1.bias"})
    CHECK_MESSAGE(run.output.find(wanted) != std::string::npos, wanted);

  // The head of another task is in the file, though it is left out.
  write_text(t / "tiny.json",
             R"({"model": {"model": "resnet18", "in_channels": 1, "head": "study", "outputs": 1,
                 "hidden": [4], "layers": [1, 1, 1, 1], "stem": 4, "width": 2}})");
  const auto start = [&](const std::string& weights) {
    return run_thorax({"train", "classifier", "--data", "manifest:" + (t / "ph/manifest.csv"),
                       "--config", t / "tiny.json", "--weights", weights, "--size", "32",
                       "--epochs", "1", "--batch", "2", "--out", t / "other"});
  };
  thorax::test::save_tiny_segmenter(t / "seg.safetensors");
  const Outcome segmenter = start(t / "seg.safetensors");
  CHECK(segmenter.exit_code == 1);
  CHECK(segmenter.output.find("seg.safetensors: holds a segmenter, not a classifier") !=
        std::string::npos);
  thorax::test::save_tiny_classifier(t / "other.safetensors");
  const Outcome other = start(t / "other.safetensors");
  INFO(other.output);
  REQUIRE(other.exit_code == 0);
  CHECK(other.output.find("4 of the head left as initialised: head.fc1.bias") != std::string::npos);
  CHECK(other.output.find("not in the file") == std::string::npos);
}
