// Several processes that train one network, started by mpirun as a user does.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "tests/apps/commands.h"

using namespace thorax::test;
namespace fs = std::filesystem;

namespace {

using Clock = std::chrono::steady_clock;

// False, with a line, where there is no MPI; CI has it.
bool there_is_mpi() {
  static const bool found = [] {
    const bool built = !nlohmann::json::parse(run({"info", "--json"})).at("ranks").is_null();
    const bool launcher = std::system("mpirun --version >/dev/null 2>&1") == 0;
    if (built && launcher) return true;
    const char* const ci = std::getenv("CI");
    REQUIRE_MESSAGE((ci == nullptr || std::string(ci) != "true"), "CI must have MPI");
    MESSAGE("SKIPPED: ", built ? "there is no mpirun" : "this build has no MPI",
            "; third_party/install.sh --dev installs it");
    return false;
  }();
  return found;
}

Arguments on_ranks(int count, const Arguments& arguments) {
  return Arguments{"/usr/bin/env",
                   "OMP_WAIT_POLICY=passive",
                   "mpirun",
                   "--allow-run-as-root",
                   "--oversubscribe",
                   "--bind-to",
                   "none",
                   "-n",
                   std::to_string(count),
                   thorax_program().string()} +
         arguments;
}

// Ends with failure where the processes hang.
Outcome wait_for(pid_t child, const std::string& log, double seconds = 120) {
  const Clock::time_point start = Clock::now();
  int status = 0;
  while (waitpid(child, &status, WNOHANG) == 0) {
    if (std::chrono::duration<double>(Clock::now() - start).count() > seconds) {
      kill(child, SIGKILL);
      waitpid(child, &status, 0);
      FAIL("the ranks hang: " << file_text(log));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, file_text(log)};
}

Outcome run_on_ranks(int count, const Arguments& arguments) {
  const TemporaryFolder t;
  return wait_for(start_program(on_ranks(count, arguments), t / "log"), t / "log");
}

int count_of(const std::string& text, const std::string& part) {
  int found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
    ++found;
  return found;
}

struct Data {
  TemporaryFolder folder;
  Data() {
    run({"data", "phantoms", "--out", folder / "phantoms", "--patients", "14", "--max-images", "1",
         "--size", "64", "--seed", "4"});
    const auto network = [&](const char* name, const char* model) {
      std::ofstream(folder / (std::string(name) + ".json"))
          << R"({"size": 32, "batch": 8, "pieces": 4, "epochs": 2, "model": )" << model << "}";
    };
    network("unet", R"({"model": "unet", "width": 4})");
    network("resnet", R"({"model": "resnet18", "in_channels": 1, "head": "study", "outputs": 1,
                          "hidden": [8], "stem": 8, "width": 8})");
    network("densenet", R"({"model": "densenet121", "in_channels": 1, "head": "study",
                            "outputs": 1, "hidden": [8], "growth": 4, "blocks": [2, 2, 2]})");
    network("hrnet", R"({"model": "hrnet_w18_small_v2", "in_channels": 1, "head": "study",
                         "outputs": 1})");
  }
  Arguments train(const std::string& network, const std::string& out) const {
    return {"train",    network == "unet" ? "segmenter" : "classifier",
            "--data",   "manifest:" + (folder / "phantoms/manifest.csv"),
            "--config", folder / (network + ".json"),
            "--out",    out};
  }
};

const Data& data() {
  static const Data made;
  return made;
}

void check_same_run(const std::string& one, const std::string& other) {
  for (const char* file : {"last.safetensors", "best.safetensors", "metrics.jsonl"}) {
    CAPTURE(file);
    CHECK(file_text(fs::path(one) / file) == file_text(fs::path(other) / file));
  }
}

// The processes that mpirun has started.
std::vector<pid_t> ranks_of(pid_t launcher) {
  std::vector<pid_t> found;
  std::ifstream children(fmt::format("/proc/{0}/task/{0}/children", launcher));
  for (pid_t child = 0; children >> child;) found.push_back(child);
  return found;
}

}  // namespace

TEST_CASE("a network has the same bytes on any number of ranks") {
  if (!there_is_mpi()) return;
  const std::vector<std::pair<std::string, std::vector<int>>> networks{
      {"unet", {2, 3, 4}}, {"resnet", {3}}, {"densenet", {4}}, {"hrnet", {3}}};
  for (const auto& [network, counts] : networks) {
    const TemporaryFolder t;
    const Arguments options =
        network == "hrnet" ? Arguments{"--epochs", "1"} : Arguments{"--ema", "0.9"};
    run(data().train(network, t / "alone") + options);
    for (const int count : counts) {
      CAPTURE(network);
      CAPTURE(count);
      const std::string folder = t / fmt::format("ranks{}", count);
      const Outcome outcome = run_on_ranks(count, data().train(network, folder) + options);
      INFO(outcome.output);
      REQUIRE(outcome.exit_code == 0);
      CHECK(has(outcome.output, fmt::format("{} ranks (", count)));
      CHECK(has(outcome.output, "a batch of 8 is 4 pieces of 2"));
      CHECK(count_of(outcome.output, "epoch 1/") >= 1);
      check_same_run(t / "alone", folder);
      const auto starts = nlohmann::json::parse(file_text(folder + "/provenance.json"));
      CHECK(starts.at(0).at("ranks").at("count") == count);
    }
  }
}

TEST_CASE("ranks: folds, and pieces by the number of ranks where nobody says how many") {
  if (!there_is_mpi()) return;
  const TemporaryFolder t;
  std::ofstream(t / "plain.json")
      << R"({"size": 32, "batch": 8, "epochs": 1, "model": {"model": "unet", "width": 4}})";
  const auto kfold = [&](const char* out) {
    return Arguments{"kfold",    "segmenter",
                     "--data",   "manifest:" + (data().folder / "phantoms/manifest.csv"),
                     "--config", t / "plain.json",
                     "--folds",  "2",
                     "--out",    t / out};
  };
  const Outcome outcome = run_on_ranks(3, kfold("ranks"));
  INFO(outcome.output);
  REQUIRE(outcome.exit_code == 0);
  const auto config = nlohmann::json::parse(file_text(t / "ranks/config.json"));
  CHECK(config.at("settings").at("pieces") == 4);  // 3 do not divide a batch of 8
  run(kfold("alone") + Arguments{"--pieces", "4"});
  for (const char* file :
       {"fold_0/last.safetensors", "fold_1/last.safetensors", "fold_1/predictions.csv"})
    CHECK(file_text(t.path() / "ranks" / file) == file_text(t.path() / "alone" / file));
}

TEST_CASE("stopped and killed at any moment, resumed on other numbers of ranks: the same bytes") {
  if (!there_is_mpi()) return;
  const TemporaryFolder t;
  const Arguments options{"--epochs", "8", "--checkpoint-seconds", "1"};
  run(data().train("resnet", t / "whole") + options);
  const Arguments again = data().train("resnet", t / "parts") + options + Arguments{"--resume"};
  std::mt19937 random(std::random_device{}());
  for (int turn = 0; turn < 4; ++turn) {
    const int count = 2 + turn % 3;
    const auto wait = std::chrono::milliseconds(700 + random() % 1500);
    CAPTURE(wait.count());
    const pid_t launcher = start_program(on_ranks(count, again), t / "log");
    std::this_thread::sleep_for(wait);
    if (turn == 0) {
      kill(launcher, SIGUSR1);  // mpirun hands it on: a checkpoint, and the end
    } else if (const std::vector<pid_t> ranks = ranks_of(launcher); !ranks.empty()) {
      kill(ranks[random() % ranks.size()], SIGKILL);
    } else {
      kill(launcher, SIGTERM);
    }
    const Outcome outcome = wait_for(launcher, t / "log", 60);
    INFO(outcome.output);
    CHECK(count_of(outcome.output, "thorax: error") == 0);
  }
  run(again);
  check_same_run(t / "whole", t / "parts");
}

TEST_CASE("an error of a rank is told once; what ranks cannot do is refused once") {
  if (!there_is_mpi()) return;
  const TemporaryFolder t;
  fs::copy(data().folder / "phantoms", t / "phantoms", fs::copy_options::recursive);
  Arguments train = data().train("unet", t / "run") +
                    Arguments{"--epochs", "500", "--cache-mb", "0", "--norm-batches", "0"};
  train[3] = "manifest:" + (t / "phantoms/manifest.csv");
  const pid_t launcher = start_program(on_ranks(3, train), t / "log");
  for (int turn = 0; turn < 3000 && !has(file_text(t / "log"), "epoch 1/"); ++turn)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  // Training images only, of which every rank reads its own.
  const auto fold = nlohmann::json::parse(file_text(t / "run/splits.json")).at("folds").at(0);
  for (const std::string id : fold.at("train"))
    fs::remove(t.path() / "phantoms/CXR_png" / id.substr(id.find('/') + 1));
  const Outcome broken = wait_for(launcher, t / "log", 60);
  INFO(broken.output);
  CHECK(broken.exit_code == 1);
  CHECK(count_of(broken.output, "thorax: error") == 1);
  CHECK(has(broken.output, " of 3 on "));

  const auto refuse_on = [&](int count, const Arguments& arguments, const std::string& words) {
    const Outcome outcome = run_on_ranks(count, arguments);
    INFO(outcome.output);
    CHECK(outcome.exit_code == 1);
    CHECK(count_of(outcome.output, "thorax: error") == 1);
    CHECK(has(outcome.output, words));
  };
  refuse_on(2, {"data", "phantoms", "--out", t / "none"}, "'data' is the work of one");
  refuse_on(2, data().train("unet", t / "none") + Arguments{"--pieces", "1"},
            "2 ranks share out the 1 pieces");
  CHECK_FALSE(fs::exists(t / "none"));
}

TEST_CASE("pieces that cannot be are refused before anything is read") {
  const TemporaryFolder t;
  CHECK(has(refuse(data().train("unet", t / "none") + Arguments{"--pieces", "3"}),
            "[pieces] --pieces 3 and --batch 8"));
  CHECK(has(refuse(data().train("resnet", t / "none") + Arguments{"--pieces", "8"}),
            "[pieces] --pieces 8 of --batch 8 have one image"));
  CHECK_FALSE(fs::exists(t / "none"));
}
