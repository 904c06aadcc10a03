// `thorax export` as a command: what it says, what it refuses, what stays.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/apps/tiny_models.h"
#include "tests/support/program.h"

using namespace thorax::test;
using nlohmann::json;

TEST_CASE("export: both networks, in text and JSON") {
  const TemporaryFolder t;
  save_tiny_segmenter(t / "lungs.safetensors");
  save_tiny_classifier(t / "covid.safetensors");

  Outcome outcome = run_thorax({"export", t / "lungs.safetensors", "--onnx", t / "lungs.onnx"});
  INFO(outcome.output);
  CHECK(outcome.exit_code == 0);
  CHECK(outcome.output.find("batch x 1 x 32 x 32, gray pixels 0..1") != std::string::npos);
  CHECK(outcome.output.find("probability of lung") != std::string::npos);

  outcome = run_thorax({"export", t / "covid.safetensors", "--onnx", t / "covid.onnx",
                        "--preprocess", "caller", "--json"});
  INFO(outcome.output);
  REQUIRE(outcome.exit_code == 0);
  const json said = json::parse(outcome.output);
  CHECK(said["task"] == "classifier");
  CHECK(said["classes"] == json{"normal", "covid"});
  CHECK(said["input"]["shape"] == json{"batch", 1, 32, 32});
  CHECK(said["operators"]["Gemm"] == 2);
  CHECK(!said["operators"].contains("Sub"));
  CHECK(said["bytes"] == std::filesystem::file_size(t / "covid.onnx"));
  // Who has only the file finds there what its pixels and outputs mean.
  const std::string bytes = file_text(t / "covid.onnx");
  for (const char* text : {R"(["normal","covid"])", R"("normalised_in_graph":false)",
                           R"("view":"whole")", "thorax.model", "thorax.input"})
    CHECK_MESSAGE(bytes.find(text) != std::string::npos, text);
}

TEST_CASE(
    "export: organs of a label map exclude each other, others do not; their names, not classes") {
  const TemporaryFolder t;
  for (const bool softmax : {true, false}) {
    save_tiny_organs(t / "organs.safetensors", softmax);
    Outcome outcome =
        run_thorax({"export", t / "organs.safetensors", "--onnx", t / "organs.onnx", "--json"});
    INFO(outcome.output);
    REQUIRE(outcome.exit_code == 0);
    const json said = json::parse(outcome.output);
    CHECK(said["activation"] == (softmax ? "softmax" : "sigmoid"));
    CHECK(said["operators"].contains("Softmax") == softmax);
    CHECK(said["operators"].contains("Sigmoid") != softmax);
    CHECK(said["channels"] ==
          (softmax ? json{"background", "lungs", "heart"} : json{"lungs", "heart"}));
    CHECK(said["classes"].empty());
    const std::string bytes = file_text(t / "organs.onnx");
    CHECK(bytes.find(R"("lungs","heart"])") != std::string::npos);
    outcome = run_thorax({"export", t / "organs.safetensors", "--onnx", t / "organs.onnx"});
    CHECK(outcome.output.find(softmax ? "probability of background, lungs, heart (softmax)"
                                      : "probability of lungs, heart (a sigmoid each)") !=
          std::string::npos);
    CHECK(outcome.output.find("COVID") == std::string::npos);
  }
}

TEST_CASE("export: refusals leave no file") {
  const TemporaryFolder t;
  const std::string file = t / "covid.safetensors", out = t / "out.onnx";
  save_tiny_classifier(file);
  const auto refused = [&](const std::vector<std::string>& arguments, int code, const char* why) {
    const Outcome outcome = run_thorax(arguments);
    INFO(outcome.output);
    CHECK(outcome.exit_code == code);
    CHECK(outcome.output.find(why) != std::string::npos);
    CHECK(!std::filesystem::exists(out));
  };
  const std::string before = file_text(file);
  refused({"export", file, "--onnx", file}, 1, "would be replaced by its own export");
  CHECK(file_text(file) == before);
  refused({"export", t / "none.safetensors", "--onnx", out}, 1, "none.safetensors");
  refused({"export", file}, 2, "--onnx is required");
  refused({"export", file, "--onnx", out, "--preprocess", "maybe"}, 2, "--preprocess");
  // A network that nobody trained for a task: what its input means is not known.
  thorax::save_model(*tiny_classifier(), t / "bare.safetensors");
  refused({"export", t / "bare.safetensors", "--onnx", out}, 1, "no 'thorax.input'");
  refused({"export", file, "--onnx", t / "nowhere/out.onnx"}, 1, "nowhere");
  refused({"export", file, "--onnx", t.path().string()}, 1, "is no regular file");
}

TEST_CASE(
    "predict: a table that cannot be written is known before the first image; the verdict "
    "can be read off the digits") {
  const TemporaryFolder t;
  save_tiny_classifier(t / "covid.safetensors");
  REQUIRE(run_thorax({"data", "phantoms", "--out", t / "ph", "--patients", "1", "--max-images", "1",
                      "--size", "32"})
              .exit_code == 0);
  const std::vector<std::string> predict{"predict", t / "ph/CXR_png", "--classifier",
                                         t / "covid.safetensors"};
  const auto with = [&](const std::vector<std::string>& more) {
    std::vector<std::string> all = predict;
    all.insert(all.end(), more.begin(), more.end());
    return run_thorax(all);
  };
  for (const std::string& file : {t / "no/dir/x.csv", t.path().string()}) {
    const Outcome outcome = with({"--csv", file});
    INFO(outcome.output);
    CHECK(outcome.exit_code == 1);
    CHECK(outcome.output.find(file) != std::string::npos);
    CHECK(outcome.output.find("verdict") == std::string::npos);
  }
  CHECK(with({"--csv", t / "x.csv"}).exit_code == 0);
  CHECK(std::filesystem::exists(t / "x.csv"));

  const std::string said = with({"--json"}).output;  // notes come first
  const double p = json::parse(said.substr(said.find("[\n")))[0]["probability"].get<double>();
  for (const double threshold : {p + 1e-7, p - 1e-7}) {
    const std::string text = with({"--threshold", fmt::format("{}", threshold)}).output;
    INFO(text);
    CHECK(text.find(fmt::format("verdict covid from P = {} (--threshold)", threshold)) !=
          std::string::npos);
    const std::string row = text.substr(text.rfind('\n', text.size() - 2) + 1);
    CHECK((std::stod(row) >= threshold) == (p >= threshold));
    CHECK(row.find(p >= threshold ? " covid " : " normal ") != std::string::npos);
  }
}

TEST_CASE("predict and segment take exported networks and give what the checkpoints give") {
  const TemporaryFolder t;
  save_tiny_segmenter(t / "lungs.safetensors");
  save_tiny_classifier(t / "covid.safetensors");
  REQUIRE(run_thorax({"data", "phantoms", "--out", t / "d", "--patients", "3", "--max-images", "1",
                      "--size", "48"})
              .exit_code == 0);
  const std::string images = t / "d/CXR_png";
  const auto predict = [&](const std::string& ending) {
    const Outcome outcome =
        run_thorax({"predict", images, "--segmenter", t / ("lungs" + ending), "--classifier",
                    t / ("covid" + ending), "--min-area", "0", "--json"});
    INFO(outcome.output);
    REQUIRE(outcome.exit_code == 0);
    // Notes about files without a checksum come first.
    return json::parse(outcome.output.substr(outcome.output.find("[\n")));
  };
  const auto segment = [&](const std::string& ending, const std::string& out) {
    const Outcome outcome = run_thorax({"segment", images, "--model", t / ("lungs" + ending),
                                        "--min-area", "0", "--out", t / out});
    INFO(outcome.output);
    REQUIRE(outcome.exit_code == 0);
  };
  const json wanted = predict(".safetensors");
  REQUIRE(wanted.size() == 3);
  segment(".safetensors", "wanted");
  for (const char* preprocess : {"graph", "caller"}) {
    CAPTURE(preprocess);
    for (const char* name : {"lungs", "covid"})
      REQUIRE(run_thorax({"export", t / (name + std::string(".safetensors")), "--onnx",
                          t / (name + std::string(".onnx")), "--preprocess", preprocess})
                  .exit_code == 0);
    CHECK(predict(".onnx") == wanted);
    segment(".onnx", preprocess);
    std::size_t masks = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(t / "wanted")) {
      if (entry.path().extension() != ".png") continue;
      const auto below = entry.path().lexically_relative(t / "wanted");
      CHECK_MESSAGE(
          file_text(entry.path()) == file_text(std::filesystem::path(t / preprocess) / below),
          below.string());
      ++masks;
    }
    CHECK(masks >= 3);
  }
  const auto refused = [](const std::vector<std::string>& command, const std::string& text) {
    const Outcome outcome = run_thorax(command);
    CHECK(outcome.exit_code == 1);
    CHECK_MESSAGE(outcome.output.find(text) != std::string::npos, outcome.output);
  };
  refused({"predict", images, "--classifier", t / "lungs.onnx"},
          "holds a segmenter, not a classifier");
  refused({"explain", images, "--classifier", t / "covid.onnx", "--segmenter", t / "lungs.onnx",
           "--out", t / "e"},
          "the classifier offers no layers to look into");
  refused({"export", t / "covid.onnx", "--onnx", t / "again.onnx"}, "an ONNX file already");
  std::filesystem::copy_file(t / "covid.safetensors", t / "wrong.onnx");
  refused({"predict", images, "--classifier", t / "wrong.onnx"}, "[onnx] ");
}
