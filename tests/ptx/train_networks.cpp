// Twenty training steps of the study's four networks, all their layers, an eighth to a third of
// their width, on small images: on the CPU and on other devices. tests/ptx_networks.sh runs it.
//
//   train_networks SUMMARY.csv CURVES.csv DEVICE...
//
// Two right float32 programs differ by rounding, and training makes any difference grow. How much
// is measured: the CPU's run is repeated from weights that differ by a few units in the last place,
// three times, and a device may leave the CPU's run by kMultiple times the largest of those
// distances. The same holds for the first loss, which has seen no update. Exit code 1 when a device
// leaves its bounds.
#include <chrono>
#include <cstdio>
#include <fstream>

#include "tests/models/training_runs.h"

using namespace thorax;

namespace {

// As tests/models/gpu_training_test.cpp has them.
constexpr double kNudge = 0x1p-20, kMultiple = 8;

struct Network {
  const char* name;
  test::TrainingSetup setup;
};

std::vector<Network> networks() {
  const nlohmann::json sgd = {{"name", "sgd"}, {"momentum", 0.8}};
  const nlohmann::json adamw = {{"name", "adamw"}, {"weight_decay", 1e-4}};
  std::vector<Network> all;
  const std::pair<const char*, nlohmann::json> narrow[] = {
      {"unet", {{"width", 8}}},
      {"hrnet_w18",
       {{"width", 6},
        {"stem", 16},
        {"layer1_planes", 16},
        {"head_planes", {8, 16, 32, 64}},
        {"features", 64}}},
      {"resnet152", {{"width", 8}, {"stem", 16}}},
      {"densenet121", {{"growth", 8}}}};
  for (const auto& [name, widths] : narrow) {
    test::TrainingSetup setup;
    setup.model = widths;
    setup.model["model"] = name;
    setup.model["in_channels"] = 1;
    setup.segments = std::string_view(name) == "unet";
    if (!setup.segments) setup.model["outputs"] = 2;
    setup.optimizer = setup.segments ? adamw : sgd;
    setup.size = 64;  // 2 x 2 pixels where a classifier is coarsest
    setup.learning_rate = setup.segments ? 1e-3 : 1e-4;
    all.push_back({name, setup});
  }
  return all;
}

std::int64_t parameters_of(const test::TrainingSetup& setup) {
  std::int64_t count = 0;
  for (const auto& [name, variable] : create_model(setup.model, 3)->parameters())
    count += variable.value().numel();
  return count;
}

std::ofstream opened(const char* path) {
  std::ofstream file(path);
  THORAX_CHECK(file.is_open(), "[train_networks] cannot write {}", path);
  return file;
}

int run(int argc, char** argv) {
  THORAX_CHECK(argc > 3, "[train_networks] train_networks SUMMARY.csv CURVES.csv DEVICE...");
  std::ofstream summary = opened(argv[1]), curves = opened(argv[2]);
  summary << "network,parameters,device,steps,batch,size,first_loss,first_difference,"
             "first_allowed,last_loss,loss_difference,loss_allowed,weights_difference,weights_"
             "allowed,seconds,agrees\n";
  curves << "network,step,cpu";
  std::vector<Device> devices;
  for (int i = 3; i < argc; ++i) {
    devices.push_back(parse_device(argv[i]));
    curves << ',' << argv[i];
  }
  curves << '\n';
  bool good = true;
  for (const auto& [name, setup] : networks()) {
    const test::TrainingRun cpu = test::train(setup, {.device = {}});
    test::Distance allowed;
    double first_allowed = 0x1p-22 * cpu.losses[0];  // two units in its last place
    for (const std::uint64_t seed : {1, 2, 3}) {
      const test::TrainingRun nudged =
          test::train(setup, {.device = {}, .nudge = kNudge, .nudge_seed = seed});
      const test::Distance d = test::distance(nudged, cpu);
      first_allowed =
          std::max(first_allowed, kMultiple * std::abs(nudged.losses[0] - cpu.losses[0]));
      allowed.loss = std::max(allowed.loss, kMultiple * d.loss);
      allowed.weights = std::max(allowed.weights, kMultiple * d.weights);
    }
    const std::int64_t parameters = parameters_of(setup);
    std::vector<std::vector<double>> losses;
    for (std::size_t i = 0; i < devices.size(); ++i) {
      const auto begin = std::chrono::steady_clock::now();
      const test::TrainingRun run = test::train(setup, {.device = devices[i]});
      const double seconds =
          std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      const test::Distance off = test::distance(run, cpu);
      const double first = std::abs(run.losses[0] - cpu.losses[0]);
      const bool agrees = off.loss <= allowed.loss && off.weights <= allowed.weights &&
                          first <= first_allowed && run.losses.size() == cpu.losses.size();
      good &= agrees;
      const std::string row = fmt::format(
          "{},{},{},{},{},{},{:.6f},{:.2e},{:.2e},{:.6f},{:.2e},{:.2e},{:.2e},{:.2e},{:.1f},{}",
          name, parameters, argv[3 + i], run.losses.size(), setup.batch, setup.size,
          run.losses.front(), first, first_allowed, run.losses.back(), off.loss, allowed.loss,
          off.weights, allowed.weights, seconds, agrees ? "yes" : "NO");
      summary << row << std::endl;
      fmt::print("{}\n", row);
      std::fflush(stdout);
      losses.push_back(run.losses);
    }
    for (std::size_t step = 0; step < cpu.losses.size(); ++step) {
      curves << fmt::format("{},{},{:.7f}", name, step + 1, cpu.losses[step]);
      for (const std::vector<double>& curve : losses) curves << fmt::format(",{:.7f}", curve[step]);
      curves << '\n';
    }
    curves.flush();
  }
  THORAX_CHECK(summary.good() && curves.good(), "[train_networks] {} or {} is not whole", argv[1],
               argv[2]);
  return good ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) try {
  return run(argc, argv);
} catch (const std::exception& error) {
  fmt::print(stderr, "train_networks: {}\n", error.what());
  return 2;
}
