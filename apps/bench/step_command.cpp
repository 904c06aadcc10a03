// `thorax bench step`: how long a training step or an inference of a network takes.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "apps/bench/commands.h"
#include "apps/bench/network_step.h"
#include "apps/bench/step_timing.h"
#include "apps/command.h"
#include "apps/number_checks.h"
#include "engine/io/json_text.h"
#include "engine/runtime/allocator.h"
#include "engine/runtime/parallel.h"
#include "engine/runtime/ptx_devices.h"

namespace thorax::app {
namespace {

struct Options : NetworkOptions {
  ComputeOptions compute;
  std::string profile;
  int repeats = 11, warmup = 2;
  bool json = false;
};

void step(Options o) {
  const NetworkWork& work = o.work;
  const Device device = apply(o.compute);
  THORAX_CHECK(device.kind != DeviceKind::sim,
               "[bench step] --device {}: a simulated device has no time to measure; take cpu or "
               "cuda, or count its launches and memory with `thorax bench census --model {}`",
               o.compute.device, work.model);
  o.apply_to(device);
  const DeviceScope on(device);
  NetworkStep network(work);
  network.fill();
  const auto run = [&] { network.run(); };
  for (int i = 0; i < o.warmup; ++i) run();
  allocator(work.device).reset_peak();
  std::vector<double> seconds;
  for (int i = 0; i < o.repeats; ++i) seconds.push_back(seconds_of(work.device, run));
  const std::size_t peak = allocator(work.device).stats().peak_in_use;
  const auto [median, spread] = quartiles(std::move(seconds));
  const double rate = static_cast<double>(work.batch) / median;
  const std::string machine = machine_name(device);
  StepProfile profile;
  if (!o.profile.empty())
    profile = profile_step(
        work.device, o.profile == "shapes" ? ProfileLevel::shapes : ProfileLevel::operations, run);
  if (o.json) {
    nlohmann::ordered_json document = {{"model", work.model},
                                       {"mode", o.mode},
                                       {"size", work.size},
                                       {"batch", work.batch},
                                       {"precision", o.precision},
                                       {"recompute", work.recompute},
                                       {"device", device_text(work.device)},
                                       {"machine", machine},
                                       {"threads", num_threads()},
                                       {"repeats", o.repeats},
                                       {"median_s", median},
                                       {"spread_s", spread},
                                       {"images_per_s", rate},
                                       {"peak_tensor_bytes", peak}};
    if (!o.profile.empty()) {
      document["profiled_s"] = profile.seconds;
      document["operations"] = nlohmann::ordered_json::array();
      for (const ProfileRow& row : profile.rows)
        document["operations"].push_back(
            {{"operation", row.name}, {"calls", row.calls}, {"seconds", row.seconds}});
    }
    fmt::print("{}\n", dump_json(document, 2));
    return;
  }
  fmt::print("{} {}x{} batch {} {} {} on {}, {} ({} threads of the CPU)\n", work.model, work.size,
             work.size, work.batch, o.precision, work.train ? "training step" : "inference",
             device_text(work.device), machine, num_threads());
  fmt::print("  time         {:.4g} s, median of {} (distance of the quartiles {:.2g} s)\n", median,
             o.repeats, spread);
  fmt::print("  images/s     {:.4g}\n", rate);
  fmt::print("  tensors      {:.1f} MiB at most, parameters included\n",
             static_cast<double>(peak) / (1 << 20));
  if (!o.profile.empty())
    fmt::print("\n  one run with the profile on: {:.4g} s\n{}", profile.seconds,
               profile_text(profile));
}

}  // namespace

void add_bench_step(CLI::App& bench) {
  static Options o;
  CLI::App* c = bench.add_subcommand(
      "step", "A training step or an inference of a network: time, images a second, memory");
  add_network_options(*c, o);
  add_compute_options(*c, o.compute);
  c->add_option("--repeats", o.repeats, "Timed runs")
      ->capture_default_str()
      ->check(in_range<int>(1, 10000));
  c->add_option("--warmup", o.warmup, "Runs before them")
      ->capture_default_str()
      ->check(in_range<int>(1, 10000));
  c->add_option("--profile", o.profile, "Time by operation, or by operation and problem (shapes)")
      ->expected(0, 1)
      ->default_str("operations")
      ->check(CLI::IsMember({"operations", "shapes"}));
  c->add_flag("--json", o.json, "Print JSON");
  c->footer("Example:\n  thorax bench step --model resnet18 --size 64 --batch 2 --profile\n");
  c->callback([] { step(o); });
}

}  // namespace thorax::app
