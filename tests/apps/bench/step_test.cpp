// `thorax bench step`: its numbers belong together, and what it refuses.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "engine/runtime/device.h"
#include "tests/apps/commands.h"

using namespace thorax::test;
using nlohmann::json;

namespace {
const Arguments kStep{"bench",   "step", "--model",   "resnet18", "--size",   "32",
                      "--batch", "2",    "--repeats", "3",        "--warmup", "1"};
}

TEST_CASE("bench step: images a second, memory and a profile that adds up") {
  const json train = json::parse(run(kStep + Arguments{"--json", "--profile"}));
  CHECK(train["images_per_s"].get<double>() * train["median_s"].get<double>() ==
        doctest::Approx(2));
  CHECK(train["spread_s"].get<double>() >= 0);
  // Parameters, gradients and AdamW's two moments are there at once.
  CHECK(train["peak_tensor_bytes"].get<double>() > 4.0 * 4 * 11'000'000);
  double sum = 0;
  bool adamw = false, backward = false;
  for (const json& row : train["operations"]) {
    sum += row["seconds"].get<double>();
    adamw |= row["operation"].get<std::string>().starts_with("adamw");
    backward |= row["operation"] == "batch_norm backward";
  }
  CHECK(sum == doctest::Approx(train["profiled_s"].get<double>()));
  CHECK(adamw);
  CHECK(backward);
  const json infer = json::parse(run(kStep + Arguments{"--json", "--mode", "infer"}));
  CHECK(!infer.contains("operations"));
  CHECK(infer["peak_tensor_bytes"].get<double>() < 0.7 * train["peak_tensor_bytes"].get<double>());
}

TEST_CASE("bench step: the segmenter, as text, with the shapes of its operations") {
  const std::string text = run({"bench", "step", "--model", "unet", "--size", "32", "--batch", "1",
                                "--repeats", "1", "--profile", "shapes"});
  CHECK_MESSAGE(has(text, "images/s"), text);
  CHECK_MESSAGE(has(text, "conv2d forward 1x32x32x"), text);
  CHECK_MESSAGE(has(text, "dice_loss"), text);
  CHECK_MESSAGE(has(text, "(outside any operation)"), text);
}

TEST_CASE("bench step: refusals") {
  const auto refused = [](const Arguments& more, const char* text) {
    const std::string said = refuse(kStep + more);
    CHECK_MESSAGE(has(said, text), said);
  };
  refused({"--precision", "float16"}, "float16");
  refused({"--device", "tpu"}, "tpu");
  refused({"--memory-limit", "1M"}, "[allocator]");
  if (thorax::device_count(thorax::DeviceKind::sim) > 0)
    refused({"--device", "sim"}, "thorax bench census --model resnet18");
}
