// --device, --memory-limit and --precision, through the command.
#include <doctest/doctest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "tests/support/program.h"

using namespace thorax::test;

namespace {

std::vector<std::string> phantoms(const std::string& out) {
  return {"data", "phantoms", "--patients", "2", "--size", "32", "--max-images", "1", "--out", out};
}

void fails(const std::vector<std::string>& arguments, const std::string& wanted) {
  const Outcome outcome = run_thorax(arguments);
  INFO(outcome.output);
  CHECK(outcome.exit_code == 1);
  CHECK(outcome.output.find(wanted) != std::string::npos);
}

}  // namespace

TEST_CASE("info lists devices by name, and the providers of each kind") {
  const auto info = nlohmann::json::parse(run_thorax({"info", "--json"}).output);
  CHECK(info["devices"][0]["device"] == "cpu");
  bool simulated = false;
  for (const auto& device : info["devices"])
    simulated = simulated || (device["device"] == "sim:0" && device["compute_capability"] == 75 &&
                              device["name"] == "simulated RTX 2070 Super");
  CHECK(simulated);
  const auto cpu = info["operations"]["conv2d"]["cpu"];
  CHECK(std::find(cpu.begin(), cpu.end(), "reference") != cpu.end());
  const std::string text = run_thorax({"info"}).output;
  CHECK(text.find("sim:0    simulated RTX 2070 Super, sm_75") != std::string::npos);
  CHECK(text.find("conv2d             cpu ") != std::string::npos);
  CHECK(text.find("\nproviders call oneDNN 2.") != std::string::npos);
}

TEST_CASE("a device that is not there, a limit that is no size: an error that says what is") {
  const TemporaryFolder t;
  const auto with = [&](const std::string& option, const std::string& value) {
    std::vector<std::string> arguments = phantoms(t / "out");
    arguments.insert(arguments.end(), {option, value});
    return arguments;
  };
  fails(with("--device", "gpu"), "there is no device 'gpu'; there are: cpu, ");
  fails(with("--device", "sim:9"), "sim:0, sim:1, sim:2");
  for (const char* wrong : {"much", "6T", "-1", "0", "6GB", "99999999999G"})
    fails(with("--memory-limit", wrong), std::string("[memory] '") + wrong + "' is no size");
  CHECK(run_thorax(with("--memory-limit", "64M")).exit_code == 0);
  // The limit is the device's: the CPU's own memory is another.
  const std::vector<std::string> train{"train", "segmenter", "--data", "shenzhen:" + (t / "out"),
                                       "--out", t / "run"};
  std::vector<std::string> half = train, small = train;
  half.insert(half.end(), {"--precision", "float16"});
  fails(half, "[precision] float16 computes on cuda and sim devices, not on the CPU");
  small.insert(small.end(), {"--memory-limit", "100K"});
  fails(small, "limit 102400");
}

TEST_CASE(
    "a simulated GPU without enough memory: an error, and --resume with more gives the bytes") {
  const TemporaryFolder t;
  REQUIRE(run_thorax(phantoms(t / "phantoms")).exit_code == 0);
  for (const char* command : {"train", "kfold"}) {
    CAPTURE(command);
    const auto run = [&](const std::string& out, const std::vector<std::string>& more) {
      std::vector<std::string> arguments{
          command,    "segmenter", "--data",   "shenzhen:" + (t / "phantoms"),
          "--size",   "16",        "--width",  "2",
          "--batch",  "1",         "--epochs", "2",
          "--device", "sim",       "--out",    t / out};
      if (command == std::string("train"))
        arguments.insert(arguments.end(), {"--validation-share", "0.5"});
      else
        arguments.insert(arguments.end(), {"--folds", "2"});
      arguments.insert(arguments.end(), more.begin(), more.end());
      return run_thorax(arguments);
    };
    const std::string whole = std::string(command) + "_whole";
    REQUIRE(run(whole, {}).exit_code == 0);
    const std::string last =
        command == std::string("train") ? "/last.safetensors" : "/fold_1/last.safetensors";
    // From far too little to enough; what lies between ends at this or that layer.
    bool enough = false;
    int refused = 0;
    for (int bytes = 1 << 10; !enough; bytes *= 4) {
      const std::string limit = std::to_string(bytes), out = command + limit;
      CAPTURE(limit);
      REQUIRE(bytes < 1 << 26);
      const Outcome outcome = run(out, {"--memory-limit", limit});
      INFO(outcome.output);
      enough = outcome.exit_code == 0;
      if (!enough) {
        ++refused;
        CHECK(outcome.exit_code == 1);
        for (const std::string& part :
             {std::string("out of memory on sim:0: "), std::string(" bytes wanted, "),
              "limit " + limit + ", ", std::string(" free"),
              std::string("a higher --memory-limit gives more"), std::string("--resume")})
          CHECK(outcome.output.find(part) != std::string::npos);
        const Outcome resumed = run(out, {"--resume"});
        INFO(resumed.output);
        CHECK(resumed.exit_code == 0);
      }
      CHECK(file_text(t / (out + last)) == file_text(t / (whole + last)));
    }
    CHECK(refused >= 2);
  }
}

TEST_CASE(
    "THORAX_SIM_ORDER: the order of simulated threads changes no bit, a wrong one is refused") {
  const TemporaryFolder t;
  REQUIRE(run_thorax(phantoms(t / "phantoms")).exit_code == 0);
  const auto train = [&](const char* order) {
    setenv("THORAX_SIM_ORDER", order, 1);
    const Outcome outcome =
        run_thorax({"train", "segmenter", "--data", "shenzhen:" + (t / "phantoms"), "--size", "16",
                    "--width", "2", "--batch", "1", "--epochs", "1", "--validation-share", "0.5",
                    "--device", "sim", "--out", t / order});
    unsetenv("THORAX_SIM_ORDER");
    return outcome;
  };
  for (const char* order : {"forward", "reverse", "random:3"}) {
    CAPTURE(order);
    REQUIRE(train(order).exit_code == 0);
    CHECK(file_text(t / (std::string(order) + "/last.safetensors")) ==
          file_text(t / "forward/last.safetensors"));
  }
  for (const char* order : {"sideways", "random", "random:", "random:x"}) {
    CAPTURE(order);
    const Outcome outcome = train(order);
    CHECK(outcome.exit_code == 1);
    CHECK(outcome.output.find("must be forward, reverse or random:SEED") != std::string::npos);
  }
}

TEST_CASE("train, resume, segment and predict on the simulated GPU") {
  const TemporaryFolder t;
  const Outcome made = run_thorax({"data", "phantoms", "--out", t / "phantoms", "--patients", "12",
                                   "--max-images", "1", "--size", "64", "--seed", "4"});
  REQUIRE(made.exit_code == 0);
  const auto train = [&](const std::string& out, const std::vector<std::string>& more) {
    std::vector<std::string> arguments{
        "train",   "segmenter", "--data",   "shenzhen:" + (t / "phantoms"),
        "--size",  "32",        "--width",  "2",
        "--batch", "2",         "--epochs", "2",
        "--out",   t / out};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_thorax(arguments);
  };
  const Outcome sim = train("sim", {"--device", "sim"});
  INFO(sim.output);
  REQUIRE(sim.exit_code == 0);
  REQUIRE(train("cpu", {}).exit_code == 0);
  const auto start = nlohmann::json::parse(file_text(t / "sim/provenance.json")).at(0);
  CHECK(start.at("device") == "sim:0");
  CHECK(start.at("device_name") == "simulated RTX 2070 Super");
  // Two epochs of a few steps: what the CPU and the simulated GPU say differs by rounding only.
  const auto loss = [&](const std::string& run) {
    std::ifstream lines(t / (run + "/metrics.jsonl"));
    std::string line, last;
    while (std::getline(lines, line)) last = line;
    return nlohmann::json::parse(last).at("train_loss").get<double>();
  };
  CHECK(loss("sim") == doctest::Approx(loss("cpu")).epsilon(1e-4));
  const auto masks = [&](const std::string& device) {
    const Outcome cut =
        run_thorax({"segment", t / "phantoms/CXR_png", "--model", t / "sim/last.safetensors",
                    "--min-area", "0", "--device", device, "--out", t / ("cut_" + device)});
    INFO(cut.output);
    REQUIRE(cut.exit_code == 0);
    return file_text(t / ("cut_" + device + "/segmentation.csv"));
  };
  const std::string table = masks("sim");
  CHECK(std::count(table.begin(), table.end(), '\n') == 13);
}
