// --autotune and --graph, through the command.
#include <doctest/doctest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "engine/io/atomic_file.h"
#include "engine/io/config.h"
#include "tests/support/program.h"

using namespace thorax::test;

namespace {

bool says(const Outcome& outcome, const std::string& text) {
  return outcome.output.find(text) != std::string::npos;
}

struct Setup : TemporaryFolder {
  Setup() {
    ::setenv("THORAX_CACHE", (*this / "cache.json").c_str(), 1);
    const Outcome made = run_thorax({"data", "phantoms", "--out", *this / "phantoms", "--patients",
                                     "14", "--max-images", "1", "--size", "64", "--seed", "4"});
    REQUIRE(made.exit_code == 0);
  }
  ~Setup() { ::unsetenv("THORAX_CACHE"); }

  std::vector<std::string> arguments(const std::string& out,
                                     const std::vector<std::string>& more) const {
    std::vector<std::string> all{
        "train",   "segmenter", "--data",   "shenzhen:" + (*this / "phantoms"),
        "--size",  "32",        "--width",  "4",
        "--batch", "4",         "--epochs", "3",
        "--out",   *this / out};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  Outcome train(const std::string& out, const std::vector<std::string>& more) const {
    const Outcome outcome = run_thorax(arguments(out, more));
    INFO(outcome.output);
    CHECK(outcome.exit_code == 0);
    return outcome;
  }
  std::string weights(const std::string& out) const {
    return file_text(*this / (out + "/last.safetensors"));
  }
  // Every measured choice is turned to another candidate.
  void falsify(const std::string& name) const {
    const std::filesystem::path path = *this / name;
    nlohmann::json file = thorax::load_json(path);
    REQUIRE(!file.at("choices").empty());
    for (auto& choice : file["choices"])
      for (const auto& candidate : choice["candidates"])
        if (candidate != choice["provider"]) {
          choice["provider"] = candidate;
          break;
        }
    thorax::save_json(path, file);
  }
};

}  // namespace

TEST_CASE("--autotune: choices are measured, told, cached, and kept by the run") {
  const Setup t;
  const Outcome first = t.train("first", {"--autotune"});
  CHECK(says(first, "kernels chosen:\n"));
  CHECK(says(first, "conv2d backward_filter"));
  const nlohmann::json record = nlohmann::json::parse(file_text(t / "first/autotune.json"));
  bool measured = false;
  for (const auto& choice : record.at("choices")) {
    CHECK(choice.at("device").get<std::string>().starts_with("cpu "));
    CHECK(choice.at("environment").get<std::string>().find("oneDNN ") != std::string::npos);
    measured = measured || choice.at("reason") == "measured";
  }
  CHECK(measured);
  const nlohmann::json start = nlohmann::json::parse(file_text(t / "first/provenance.json")).at(0);
  CHECK(start.at("autotune") == true);
  // A second run measures nothing and has the same bits; so has the first one computed again.
  const Outcome second = t.train("second", {"--autotune"});
  CHECK(!says(second, "measured"));
  CHECK(t.weights("second") == t.weights("first"));
  // Explicit choices win.
  const Outcome fixed = t.train("fixed", {"--autotune", "--provider", "conv2d=gemm"});
  CHECK(says(fixed, "explicit"));
  for (const auto& choice :
       nlohmann::json::parse(file_text(t / "fixed/autotune.json")).at("choices"))
    CHECK(choice.at("operation") != "conv2d");
  CHECK(nlohmann::json::parse(file_text(t / "fixed/provenance.json")).at(0).at("providers") ==
        "conv2d=gemm");
  // What was chosen can be asked for.
  const Outcome cache = run_thorax({"info", "--autotune"});
  CHECK(cache.exit_code == 0);
  CHECK(says(cache, "cache.json"));
  CHECK(says(cache, "conv2d forward"));
  CHECK(says(run_thorax({"info", "--autotune", t / "first/autotune.json"}), "conv2d forward"));
  CHECK(run_thorax({"info", "--autotune", t / "first/config.json"}).exit_code == 1);
  // Without: no record, nothing said.
  const Outcome plain = t.train("plain", {});
  CHECK(!says(plain, "kernels chosen"));
  CHECK(!std::filesystem::exists(t / "plain/autotune.json"));
  const Outcome refused = run_thorax(t.arguments("plain", {"--resume", "--autotune"}));
  CHECK(refused.exit_code == 1);
  CHECK(says(refused, "was started without --autotune"));
}

TEST_CASE("--autotune: a resumed run keeps its kernels, whatever the cache says") {
  const Setup t;
  t.train("whole", {"--autotune"});
  // A second run is killed somewhere after its start.
  for (int milliseconds = 500; !std::filesystem::exists(t / "parts/config.json"); milliseconds *= 2)
    run_thorax(t.arguments("parts", {"--autotune"}), milliseconds);
  // It had made all its choices; the cache says something else by now.
  std::filesystem::copy_file(t / "whole/autotune.json", t / "parts/autotune.json",
                             std::filesystem::copy_options::overwrite_existing);
  t.falsify("cache.json");
  const Outcome part = t.train("parts", {"--resume"});
  CHECK(t.weights("parts") == t.weights("whole"));
  CHECK(says(part, "goes on with its choices"));
  CHECK(!says(part, "measured"));
  // A damaged record is no reason to guess.
  thorax::atomic_write(t / "parts/autotune.json", std::string_view("{"));
  const Outcome damaged = run_thorax(t.arguments("parts", {"--resume"}));
  CHECK(damaged.exit_code == 1);
  CHECK(says(damaged, "parts/autotune.json: is damaged"));
}

TEST_CASE("--autotune: a damaged cache is set aside, another file is not touched") {
  const Setup t;
  thorax::atomic_write(t / "cache.json",
                       std::string_view("{\"format\": \"thorax provider choices\""));
  CHECK(says(t.train("a", {"--autotune"}), "set aside as"));
  CHECK(std::filesystem::exists(t / "cache.json.bad"));
  thorax::atomic_write(t / "cache.json", std::string_view("{\"mine\": 1}"));
  const Outcome foreign = run_thorax(t.arguments("b", {"--autotune"}));
  CHECK(foreign.exit_code == 1);
  CHECK(says(foreign, "cache.json: is no file of provider choices"));
  CHECK(file_text(t / "cache.json") == "{\"mine\": 1}");
}

TEST_CASE("--graph: the bytes of a run without it, and an error on the CPU") {
  const Setup t;
  const Outcome graph = t.train("graph", {"--device", "sim", "--graph"});
  CHECK(says(graph, "captured as a graph"));
  t.train("plain", {"--device", "sim"});
  CHECK(t.weights("graph") == t.weights("plain"));
  const Outcome cpu = run_thorax(t.arguments("cpu", {"--graph"}));
  CHECK(cpu.exit_code == 1);
  CHECK(says(cpu, "[graph] --graph is for cuda and sim devices"));
}
