// What the command prints, and what it takes: lost output, terminal escapes, names of any bytes,
// senseless numbers, misspelt words.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/io/json_text.h"
#include "tests/apps/tiny_models.h"
#include "tests/support/program.h"

using namespace thorax::test;
namespace fs = std::filesystem;

namespace {

// `command` with {} for the program, by the shell; its standard error and exit code.
Outcome shell(const std::string& command) {
  const TemporaryFolder t;
  const std::string text =
      fmt::format(fmt::runtime("( " + command + " ) 2>'{}'"), thorax_program().string(), t / "err");
  const int status = std::system(text.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, file_text(t / "err")};
}

}  // namespace

TEST_CASE("output that gets lost is an error, whatever the command") {
  for (const char* command : {"'{}' info --json", "'{}' --help", "'{}' info", "'{}' --version"}) {
    CAPTURE(command);
    const Outcome full = shell(std::string(command) + " >/dev/full");
    CHECK(full.exit_code == 1);
    CHECK(full.output.find("standard output: No space left on device") != std::string::npos);
  }
  const Outcome closed = shell("'{}' info >&-");
  CHECK(closed.exit_code == 1);
  CHECK(closed.output.find("standard output: ") != std::string::npos);
  const TemporaryFolder t;
  const Outcome gone = shell("( sleep 0.3; '{}' info; echo $? >" + (t / "code") + " ) | :");
  CHECK(file_text(t / "code") == "1\n");
  CHECK(gone.output.find("standard output: Broken pipe") != std::string::npos);
}

TEST_CASE("names of any bytes are printed harmlessly and come back from JSON") {
  const TemporaryFolder t;
  REQUIRE(run_thorax({"data", "phantoms", "--out", t / "ph", "--patients", "4", "--size", "64",
                      "--max-images", "1"})
              .exit_code == 0);
  save_tiny_classifier(t / "cls.safetensors");
  std::vector<fs::path> pictures;
  for (const auto& entry : fs::directory_iterator(t / "ph/CXR_png"))
    pictures.push_back(entry.path());
  const std::vector<std::string> names{"\x1b[2J\x1b]0;evil\x07.png", "r\xf6ntgen.png",
                                       "\xc2\x9b"
                                       "31m.png",
                                       "=1+1.png"};
  for (const char* name : {"a", "b"}) fs::create_directories(t / "classes" / fs::path(name));
  for (std::size_t i = 0; i < 4; ++i) {
    fs::copy_file(pictures[i], t / names[i]);
    for (const char* name : {"negative", "positive"}) {
      const fs::path folder = fs::path(t / "classes") / name;
      fs::create_directories(folder);
      fs::copy_file(pictures[i], folder / (name + names[i]));
    }
  }
  fs::remove_all(t / "classes/a");
  fs::remove_all(t / "classes/b");
  std::vector<std::string> command{"predict", "--classifier", t / "cls.safetensors"};
  for (const std::string& name : names) command.push_back(t / name);
  const Outcome text = run_thorax(command);
  CHECK(text.exit_code == 0);
  CHECK(text.output.find('\x1b') == std::string::npos);
  CHECK(text.output.find("\xc2\x9b") == std::string::npos);
  CHECK(text.output.find("\\u001b[2J") != std::string::npos);
  CHECK(text.output.find("r\\xf6ntgen.png") != std::string::npos);

  command.push_back("--json");
  const Outcome json = run_thorax(command);
  REQUIRE(json.exit_code == 0);
  const auto rows = nlohmann::json::parse(json.output.substr(json.output.find("[\n")));
  REQUIRE(rows.size() == names.size());
  for (std::size_t i = 0; i < names.size(); ++i)
    CHECK(thorax::from_json_text(rows[i].at("image").get<std::string>()) == t / names[i]);

  // A whole run, and its continuation, which finds every image under its name.
  std::vector<std::string> train{"train",
                                 "classifier",
                                 "--data",
                                 "folder:" + (t / "classes"),
                                 "--model",
                                 "resnet18",
                                 "--size",
                                 "48",
                                 "--batch",
                                 "4",
                                 "--epochs",
                                 "1",
                                 "--group",
                                 "image",
                                 "--validation-share",
                                 "0.5",
                                 "--out",
                                 t / "run"};
  const Outcome first = run_thorax(train);
  INFO(first.output);
  REQUIRE(first.exit_code == 0);
  CHECK(first.output.find('\x1b') == std::string::npos);
  train.push_back("--resume");
  const Outcome again = run_thorax(train);
  INFO(again.output);
  CHECK(again.exit_code == 0);
}

TEST_CASE("numbers out of range are refused by option and range") {
  const std::vector<std::string> start{"train",         "segmenter", "--data",
                                       "shenzhen:none", "--out",     "/nowhere/run"};
  for (const auto& [option, value] : {std::pair{"--clip-norm", "nan"},
                                      {"--clip-norm", "-1"},
                                      {"--clip-norm", "inf"},
                                      {"--cache-mb", "-1"},
                                      {"--size", "33.7"},
                                      {"--size", "1e300"},
                                      {"--size", "0"},
                                      {"--epochs", "2305843009213693952"},
                                      {"--epochs", "0"},
                                      {"--batch", "-4"},
                                      {"--lr", "nan"},
                                      {"--lr", "0"},
                                      {"--validation-share", "nan"},
                                      {"--width", "0"},
                                      {"--seed", "9223372036854775808"},
                                      {"--seed", "-1"},
                                      {"--norm-batches", "-1"},
                                      {"--workers", "0"},
                                      {"--threads", "99999999999"},
                                      {"--checkpoint-seconds", "0"}}) {
    CAPTURE(option);
    CAPTURE(value);
    std::vector<std::string> all = start;
    all.insert(all.end(), {option, value});
    const Outcome outcome = run_thorax(all);
    INFO(outcome.output);
    CHECK(outcome.exit_code == 2);
    CHECK(outcome.output.find(option) != std::string::npos);
    CHECK((outcome.output.find("is not within") != std::string::npos ||
           outcome.output.find("is not a whole number") != std::string::npos));
  }
  const TemporaryFolder t;
  for (const char* setting : {R"("clip_norm": -1)", R"("size": 33.7)", R"("size": 1e300)",
                              R"("epochs": 2305843009213693952)", R"("min_area": 1e300)",
                              R"("seed": 18446744073709551615)", R"("batch": 0)",
                              R"("optimizer": {"name": "sgd", "momentum": 2})"}) {
    CAPTURE(setting);
    std::ofstream(t / "c.json") << "{" << setting << "}";
    std::vector<std::string> all = start;
    all.insert(all.end(), {"--config", t / "c.json"});
    const Outcome outcome = run_thorax(all);
    INFO(outcome.output);
    CHECK(outcome.exit_code == 1);
    CHECK(outcome.output.find("[config]") != std::string::npos);
  }
}

TEST_CASE("empty names and misspelt words") {
  const auto says = [](const std::vector<std::string>& arguments, const char* wanted) {
    const Outcome outcome = run_thorax(arguments);
    INFO(outcome.output);
    CHECK(outcome.exit_code == 2);
    CHECK(outcome.output.find(wanted) != std::string::npos);
  };
  says({"train", "segmenter", "--data", "shenzhen:x", "--out", ""}, "--out: must not be empty");
  says({"data", "phantoms", "--out", ""}, "--out: must not be empty");
  says({"train", "segmentr", "--out", "x"}, "did you mean 'segmenter'?");
  says({"pedict"}, "did you mean 'predict'?");
  says({"train", "segmenter", "--epoch", "3", "--out", "x"}, "did you mean '--epochs'?");
  const Outcome wrong = run_thorax(
      {"train", "segmenter", "--data", "shenzhen:x", "--model", "resnet18", "--out", "/nowhere/x"});
  CHECK(wrong.exit_code == 1);
  CHECK(wrong.output.find("--model resnet18: is a classifier; a segmenter is one of: unet") !=
        std::string::npos);
  // A file where a folder is wanted: the reason, not an exception's text.
  const Outcome outcome = run_thorax({"data", "phantoms", "--out", "/dev/null/x"});
  INFO(outcome.output);
  CHECK(outcome.exit_code == 1);
  CHECK(
      outcome.output.find(
          "/dev/null: cannot be created: a file of that name, which is no folder, is in the way") !=
      std::string::npos);
  CHECK(outcome.output.find("filesystem error") == std::string::npos);
}
