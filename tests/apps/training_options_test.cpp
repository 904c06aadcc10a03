// Early stopping, freezing, accumulation, averaging, --dry-run, lr-find, --quiet and --verbose,
// through the command.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "data/csv.h"
#include "engine/io/safetensors.h"
#include "tests/apps/commands.h"
#include "tests/support/check.h"

using namespace thorax::test;
namespace fs = std::filesystem;

namespace {

// A run's two streams apart.
struct Streams {
  int exit_code = -1;
  std::string out, err;
};
Streams apart(const Arguments& arguments) {
  const TemporaryFolder t;
  std::string command = "'" + thorax_program().string() + "'";
  for (const std::string& argument : arguments) command += " '" + argument + "'";
  command += " >'" + (t / "out") + "' 2>'" + (t / "err") + "'";
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, file_text(t / "out"), file_text(t / "err")};
}

struct Data {
  TemporaryFolder folder;
  Data() {
    run({"data", "phantoms", "--out", folder / "phantoms", "--patients", "10", "--max-images", "1",
         "--size", "64", "--seed", "4"});
    std::ofstream(folder / "narrow.json") << R"({"model": {"model": "resnet18", "in_channels": 1,
      "head": "study", "hidden": [16], "outputs": 1, "stem": 8, "width": 8}, "size": 64,
      "batch": 2})";
  }
  Arguments train(const std::string& out) const {
    return {"train",    "classifier",
            "--data",   "manifest:" + (folder / "phantoms/manifest.csv"),
            "--config", folder / "narrow.json",
            "--out",    out};
  }
};

const Data& data() {
  static const Data made;
  return made;
}

const Arguments kAll{"--early-stop",
                     "1",
                     "--freeze",
                     "conv1.*,bn1.*,layer1.*",
                     "--accumulate",
                     "2",
                     "--ema",
                     "0.9",
                     "--epochs",
                     "6",
                     "--lr",
                     "0.02",
                     "--checkpoint-seconds",
                     "1"};

}  // namespace

TEST_CASE(
    "all of it together: said, frozen, resumed to the same bytes, repeated from config.json") {
  const TemporaryFolder t;
  const std::string output = run(data().train(t / "whole") + kAll);
  CHECK(output.find("[freeze] 15 of 64 parameters") != std::string::npos);
  CHECK(output.find("5 batch norm layers use their running statistics") != std::string::npos);
  CHECK(output.find("2 batches of 2 make a step of 4 images") != std::string::npos);
  const auto settings = nlohmann::json::parse(file_text(t / "whole/config.json")).at("settings");
  CHECK(settings.at("early_stop") == 1);
  CHECK(settings.at("accumulate") == 2);
  CHECK(settings.at("ema") == 0.9);
  CHECK(settings.at("freeze") == nlohmann::json({"conv1.*", "bn1.*", "layer1.*"}));
  // The log has the epochs up to the first that is not better than all before.
  std::istringstream log(file_text(t / "whole/metrics.jsonl"));
  std::vector<double> losses;
  for (std::string line; std::getline(log, line);)
    losses.push_back(nlohmann::json::parse(line).at("loss"));
  std::size_t expected = 1;
  while (expected < 6 &&
         (expected == 1 ||
          losses.at(expected - 1) <
              *std::min_element(losses.begin(),
                                losses.begin() + static_cast<std::ptrdiff_t>(expected - 1))))
    ++expected;
  CHECK(losses.size() == expected);
  if (expected < 6)
    CHECK(output.find(fmt::format("stopped early after epoch {} of 6", expected)) !=
          std::string::npos);
  const auto held = thorax::read_safetensors(t / "whole/last.safetensors");
  CHECK(held.tensors.contains("trained.head.fc1.weight"));
  CHECK_FALSE(held.tensors.contains("trained.conv1.weight"));
  CHECK_FALSE(held.tensors.contains("optimizer.exp_avg.conv1.weight"));

  const Outcome first = run_thorax(data().train(t / "parts") + kAll, 1500, SIGINT);
  CHECK((first.exit_code == 3 || first.exit_code == 0));
  if (first.exit_code == 3) run(data().train(t / "parts") + kAll + Arguments{"--resume"});
  run({"train", "classifier", "--config", t / "whole/config.json", "--out", t / "again"});
  for (const char* other : {"parts", "again"})
    for (const char* file : {"last.safetensors", "best.safetensors", "metrics.jsonl"})
      CHECK(file_text(t.path() / other / file) == file_text(t.path() / "whole" / file));
  Arguments changed = kAll;
  *std::find(changed.begin(), changed.end(), "0.9") = "0.8";
  const std::string other = refuse(data().train(t / "whole") + changed + Arguments{"--resume"});
  CHECK(other.find("ema (0.9, now 0.8)") != std::string::npos);
}

TEST_CASE("what makes no sense is refused before there is a folder") {
  const TemporaryFolder t;
  const auto refused = [&](const Arguments& options, int code, const char* message) {
    const std::string output = refuse(data().train(t / "run") + options, code);
    CAPTURE(message);
    CHECK(output.find(message) != std::string::npos);
    CHECK_FALSE(fs::exists(t / "run"));
  };
  refused({"--freeze", "layr1.*"}, 1,
          "'layr1.*' matches no parameter of resnet18; did you mean "
          "'layer1.*'?");
  refused({"--freeze", "*"}, 1, "nothing is left to train");
  refused({"--ema", "0.9", "--norm-batches", "0"}, 1, "--ema with --norm-batches 0");
  for (const char* value : {"1", "-0.5", "nan", "x"}) refused({"--ema", value}, 2, "--ema");
  for (const char* value : {"0", "-1", "1.5", "99999999999999999999"})
    refused({"--accumulate", value}, 2, "--accumulate");
  for (const char* value : {"-1", "x"}) refused({"--early-stop", value}, 2, "--early-stop");
  refused({"--accumulate", "2", "--graph", "--device", "sim"}, 1,
          "only steps of one batch are captured");
  refused({"--dry-run", "--resume"}, 2, "excludes");
  refused({"--json"}, 2, "--dry-run");
  refused({"--quiet", "--verbose"}, 2, "excludes");
  std::ofstream(t / "typo.json") << R"({"early_stopp": 2})";
  CHECK(refuse({"train", "classifier", "--data",
                "manifest:" + (data().folder / "phantoms/manifest.csv"), "--config",
                t / "typo.json", "--out", t / "run"})
            .find("early_stop") != std::string::npos);
}

TEST_CASE("--dry-run says what a run would be and writes nothing") {
  const TemporaryFolder t;
  const Arguments training =
      data().train(t / "run") + Arguments{"--freeze", "conv1.*", "--dry-run"};
  const std::string text = run(training);
  for (const char* part : {"parameters", "of them trained", "FLOP an image forward", "measured",
                           "estimate", "of disk", "free", "training 8 images"})
    CHECK_MESSAGE(text.find(part) != std::string::npos, part);
  const Streams streams = apart(training + Arguments{"--json"});
  REQUIRE(streams.exit_code == 0);
  const auto plan = nlohmann::json::parse(streams.out);
  CHECK_FALSE(fs::exists(t / "run"));
  const auto& network = plan.at("networks").at(0);
  // 8 filters of 7 x 7 pixels of the stem are frozen.
  CHECK(network.at("parameters").get<int>() - network.at("trained_parameters").get<int>() == 392);
  CHECK(network.at("steps_an_epoch") == 4);
  // Without the stem's filter gradient, and the stem's input wants none: less than three times.
  const double forward = network.at("flop_forward_image"), step = network.at("flop_step");
  CHECK(step > 2 * 2 * forward);
  CHECK(step < 2 * 3 * forward);
  CHECK(network.at("peak_bytes_measured") > 4 * network.at("parameters").get<double>());
  const auto& fold = plan.at("folds").at(0);
  CHECK(fold.at("train").at("images").get<int>() + fold.at("validation").at("images").get<int>() ==
        10);
  // The estimate of the disk is what the run takes, but for small files.
  run(data().train(t / "run") + Arguments{"--freeze", "conv1.*", "--epochs", "2"});
  double bytes = 0;
  for (const char* file : {"last.safetensors", "last.prev.safetensors", "best.safetensors"})
    bytes += static_cast<double>(fs::file_size(t.path() / "run" / file));
  CHECK(plan.at("disk_bytes").get<double>() == doctest::Approx(bytes).epsilon(0.2));
  CHECK(refuse(training).find("holds a run already") != std::string::npos);

  const std::string folds = run(
      {"kfold", "classifier", "--data", "manifest:" + (data().folder / "phantoms/manifest.csv"),
       "--config", data().folder / "narrow.json", "--folds", "2", "--out", t / "k", "--dry-run"});
  CHECK(folds.find("fold 2: training") != std::string::npos);
  CHECK_FALSE(fs::exists(t / "k"));
  const Streams rows = apart({"compare", "--models", "resnet18,resnet34", "--views", "whole",
                              "--data", "manifest:" + (data().folder / "phantoms/manifest.csv"),
                              "--config", data().folder / "narrow.json", "--folds", "2", "--out",
                              t / "c", "--dry-run", "--json"});
  REQUIRE(rows.exit_code == 0);
  CHECK(nlohmann::json::parse(rows.out).at("networks").size() == 2);
  CHECK_FALSE(fs::exists(t / "c"));
}

TEST_CASE("lr-find leaves its table and its figure, and nothing else") {
  const TemporaryFolder t;
  Arguments arguments = data().train(t / "lr");
  arguments[0] = "lr-find";
  const Outcome found = run_thorax(arguments + Arguments{"--steps", "30", "--from", "1e-5"});
  INFO(found.output);
  const auto json = nlohmann::json::parse(file_text(t / "lr/lr_find.json"));
  CHECK(found.exit_code == (json.at("suggested").is_null() ? 1 : 0));
  CHECK(found.output.find(json.at("suggested").is_null() ? "falls nowhere" : "suggested: --lr") !=
        std::string::npos);
  const auto table = thorax::CsvTable::read(t / "lr/lr_find.csv");
  REQUIRE(table.rows() == json.at("steps").get<std::int64_t>());
  CHECK(std::stod(table.at(0, table.column("lr"))) == doctest::Approx(1e-5));
  for (const auto& entry : fs::directory_iterator(t / "lr"))
    CHECK(entry.path().stem() == "lr_find");
  for (const auto& entry : fs::directory_iterator(fs::temp_directory_path()))
    CHECK_FALSE(entry.path().filename().string().starts_with("thorax-lr-find-"));
  CHECK(refuse(arguments + Arguments{"--from", "1", "--to", "0.1"}).find("[lr-find]") !=
        std::string::npos);
  refuse(arguments + Arguments{"--steps", "3"}, 2);
  // What is there stays unless --overwrite is given, and a run's folder takes no other files.
  const std::string before = file_text(t / "lr/lr_find.csv");
  CHECK(refuse(arguments).find("holds lr_find.csv already; give --overwrite") != std::string::npos);
  CHECK(file_text(t / "lr/lr_find.csv") == before);
  run_thorax(arguments + Arguments{"--steps", "12", "--from", "1e-5", "--overwrite"});
  CHECK(thorax::CsvTable::read(t / "lr/lr_find.csv").rows() <= 12);
  fs::create_directory(t / "run");
  std::ofstream(t / "run/config.json") << "{}";
  arguments = data().train(t / "run");
  arguments[0] = "lr-find";
  CHECK(refuse(arguments + Arguments{"--overwrite"}).find("is the folder of a run") !=
        std::string::npos);
}

TEST_CASE("--quiet and --verbose change what is said, and nothing else") {
  const TemporaryFolder t;
  const Arguments epochs{"--epochs", "1"};
  const Streams quiet = apart(data().train(t / "quiet") + epochs + Arguments{"-q"});
  const Streams normal = apart(data().train(t / "normal") + epochs);
  const Streams verbose = apart(data().train(t / "verbose") + epochs + Arguments{"--verbose"});
  for (const Streams* one : {&quiet, &normal, &verbose}) CHECK(one->exit_code == 0);
  CHECK(quiet.err.empty());
  CHECK(quiet.out.find("epoch 1/1") == std::string::npos);
  CHECK(normal.out.find("epoch 1/1") != std::string::npos);
  CHECK(quiet.out.find("AUC") != std::string::npos);
  CHECK(normal.err.find("[verbose]") == std::string::npos);
  CHECK(verbose.err.find("[verbose] thorax ") != std::string::npos);
  CHECK(verbose.err.find("step 4/4  loss ") != std::string::npos);
  CHECK(verbose.err.find("MiB of tensors on cpu") != std::string::npos);
  CHECK(verbose.out.find("step 4/4") == std::string::npos);
  for (const char* other : {"quiet", "verbose"})
    for (const char* file : {"last.safetensors", "metrics.jsonl", "predictions.csv", "config.json"})
      CHECK(file_text(t.path() / other / file) == file_text(t.path() / "normal" / file));
  // Errors are said at every level.
  const Streams failed = apart(data().train(t / "quiet") + epochs + Arguments{"--quiet"});
  CHECK(failed.exit_code == 1);
  CHECK(failed.err.find("holds a run already") != std::string::npos);
  CHECK(apart({"info", "--quiet", "--nosuch"}).err.find("--nosuch") != std::string::npos);
  // Every command has them.
  for (const Arguments& command :
       {Arguments{"data", "describe"}, Arguments{"predict"}, Arguments{"weights", "show"},
        Arguments{"info"}, Arguments{"audit"}})
    CHECK(run(command + Arguments{"--help"}).find("--quiet") != std::string::npos);
}
