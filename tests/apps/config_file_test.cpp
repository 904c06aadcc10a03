// --config: a run by TOML is the run by the same JSON; mistakes are named with their line.
#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/program.h"

using namespace thorax::test;

namespace {

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a configuration in TOML with comments gives the run of the same JSON") {
  const TemporaryFolder t;
  const auto run = [](const std::vector<std::string>& arguments, int wanted = 0) {
    const Outcome outcome = run_thorax(arguments);
    INFO(outcome.output);
    REQUIRE(outcome.exit_code == wanted);
    return outcome.output;
  };
  run({"data", "phantoms", "--out", t / "d", "--patients", "4", "--max-images", "1", "--size",
       "32"});
  std::ofstream(t / "c.json")
      << R"({"model": {"model": "unet", "width": 4}, "size": 16, "epochs": 1,
    "schedule": {"name": "step", "lr": 0.01, "milestones": [1, 2]}, "freeze": ["down.0.*"], "batch": 2})";
  std::ofstream(t / "c.toml") << R"(# A network for a test.
size = 16
epochs = 1
batch = 2  # images
freeze = ["down.0.*"]
[model]
model = "unet"
width = 4
[schedule]
name = "step"
lr = 0.01
milestones = [1, 2]
)";
  const auto train = [&](const char* config, const char* out) -> std::vector<std::string> {
    return {"train",    "segmenter", "--data", "manifest:" + (t / "d/manifest.csv"),
            "--config", t / config,  "--out",  t / out};
  };

  run(train("c.json", "by_json"));
  run(train("c.toml", "by_toml"));
  const auto settings = [&](const char* folder) {
    return nlohmann::json::parse(file_text(t / (std::string(folder) + "/config.json")))
        .at("settings");
  };
  CHECK(settings("by_json") == settings("by_toml"));
  CHECK(file_text(t / "by_json/last.safetensors") == file_text(t / "by_toml/last.safetensors"));

  std::ofstream(t / "typo.toml") << "# Epochs\n\nepcohs = 1\n";
  CHECK(has(run(train("typo.toml", "refused"), 1),
            "typo.toml:3: epcohs: unknown key; did you mean 'epochs'?"));
  std::ofstream(t / "typo.json") << "{\n\"epochs\": 1,\n\"batch\": 0}";
  CHECK(has(run(train("typo.json", "refused"), 1), "typo.json:3: batch: 0 is not within 1..4096"));
  std::ofstream(t / "broken.toml") << "epochs = 1\nbatch 2\n";
  CHECK(has(run(train("broken.toml", "refused"), 1), "broken.toml:2: "));
  // The configuration of a run, whose settings lie one level below.
  std::string text = file_text(t / "by_json/config.json");
  const std::size_t at = text.find("\"epochs\": 1");
  REQUIRE(at != text.npos);
  text.replace(at, 11, "\"epochs\": 0");
  const auto line =
      std::to_string(1 + std::count(text.begin(), text.begin() + static_cast<long>(at), '\n'));
  std::ofstream(t / "run.json") << text;
  CHECK(has(run(train("run.json", "refused"), 1), "run.json:" + line + ": settings.epochs: 0 is "));
}
