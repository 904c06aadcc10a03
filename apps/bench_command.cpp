// `thorax bench`: what this engine costs.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>

#include "apps/bench/commands.h"
#include "apps/command.h"
#include "apps/launch_census.h"
#include "apps/number_checks.h"
#include "data/csv.h"
#include "engine/io/atomic_file.h"
#include "engine/io/json_text.h"
#include "engine/io/output_folder.h"
#include "models/factory.h"

namespace thorax::app {
namespace {

struct Options : NetworkOptions {
  std::string device = "sim", csv;
  bool json = false;
};

nlohmann::ordered_json as_json(const NetworkWork& work, const Options& o, const LaunchCensus& c) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const CensusRow& r : c.rows)
    rows.push_back({{"operation", r.operation},
                    {"kernel", r.kernel},
                    {"launches", r.launches},
                    {"blocks", r.blocks},
                    {"threads", r.threads},
                    {"dynamic_shared", r.dynamic_shared},
                    {"resident_blocks", r.resident_blocks},
                    {"waves", r.waves}});
  const DeviceInfo& card = device_info(work.device);
  return {{"model", work.model},
          {"mode", o.mode},
          {"size", work.size},
          {"batch", work.batch},
          {"precision", o.precision},
          {"recompute", work.recompute},
          {"device", card.name},
          {"multiprocessors", card.multiprocessors},
          {"launches", c.launches},
          {"fewer_blocks_than_multiprocessors", c.fewer_than_multiprocessors},
          {"under_one_wave", c.under_one_wave},
          {"fills", c.fills},
          {"copies", c.copies},
          {"peak_tensor_bytes", c.peak_bytes},
          {"memory", card.memory},
          {"rows", std::move(rows)}};
}

std::string as_csv(const LaunchCensus& c) {
  std::string text = csv_line({"operation", "kernel", "launches", "blocks", "threads",
                               "dynamic_shared", "resident_blocks", "waves"});
  for (const CensusRow& r : c.rows)
    text += csv_line({r.operation, r.kernel, std::to_string(r.launches), std::to_string(r.blocks),
                      std::to_string(r.threads), std::to_string(r.dynamic_shared),
                      std::to_string(r.resident_blocks), fmt::format("{:.4g}", r.waves)});
  return text;
}

double percent(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? 0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

void print(const NetworkWork& work, const Options& o, const LaunchCensus& c) {
  const DeviceInfo& card = device_info(work.device);
  fmt::print("{} {}x{} batch {} {} {}, counted on a {} ({} multiprocessors, sm_{}); nothing ran\n",
             work.model, work.size, work.size, work.batch, o.precision,
             work.train ? "training step" : "inference", card.name, card.multiprocessors,
             card.compute_capability);
  fmt::print("  launches     {:>6}, and {} fills, {} copies\n", c.launches, c.fills, c.copies);
  fmt::print("  small        {:>6} ({:.0f} %) have fewer blocks than the card multiprocessors\n",
             c.fewer_than_multiprocessors, percent(c.fewer_than_multiprocessors, c.launches));
  fmt::print("  under a wave {:>6} ({:.0f} %) do not fill the card once\n", c.under_one_wave,
             percent(c.under_one_wave, c.launches));
  fmt::print("  tensors      {:>6.2f} GiB at most, of {:.0f} GiB{}\n",
             static_cast<double>(c.peak_bytes) / (1 << 30),
             static_cast<double>(card.memory) / (1 << 30),
             c.peak_bytes > card.memory
                 ? ": more than the card has; a smaller --batch, float16 or --recompute take less"
                 : "");
  std::map<std::string, std::array<std::int64_t, 2>> operations;
  for (const CensusRow& r : c.rows) {
    if (r.kernel == "fill" || r.kernel == "copy") continue;
    auto& [launches, small] = operations[r.operation.empty() ? "(none)" : r.operation];
    launches += r.launches;
    if (r.resident_blocks > 0 && r.waves < 1) small += r.launches;
  }
  std::vector<std::pair<std::string, std::array<std::int64_t, 2>>> sorted(operations.begin(),
                                                                          operations.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.second[0] > b.second[0]; });
  fmt::print("\n{:<24}{:>10}{:>14}\n", "operation", "launches", "under a wave");
  for (const auto& [name, count] : sorted)
    fmt::print("{:<24}{:>10}{:>14}\n", name, count[0], count[1]);
}

void census(Options o) {
  o.apply_to(apply(
      {.threads = 0, .device = o.device, .memory_limit = {}, .providers = {}, .autotune = false}));
  const NetworkWork& work = o.work;
  if (!o.csv.empty()) check_output_file(o.csv);
  const LaunchCensus counted = count_launches(work);
  if (!o.csv.empty()) atomic_write(o.csv, as_csv(counted));
  if (o.json)
    fmt::print("{}\n", dump_json(as_json(work, o, counted), 2));
  else
    print(work, o, counted);
}

void add(CLI::App& root) {
  static Options o;
  CLI::App* bench = root.add_subcommand("bench", "What this engine costs");
  bench->require_subcommand(1);
  add_bench_kernels(*bench);
  add_bench_step(*bench);
  CLI::App* c = bench->add_subcommand(
      "census", "Kernels that a training step or inference launches on a GPU, counted, not run");
  add_network_options(*c, o);
  c->add_option("--device", o.device, "The card: sim (RTX 2070 Super), sim:1 (A100), sim:2 (H100)")
      ->capture_default_str();
  c->add_option("--csv", o.csv, "Write a row for each operation, kernel and grid here");
  c->add_flag("--json", o.json, "Print JSON");
  c->footer("Example:\n  thorax bench census --model hrnet_w18 --precision float16 --device sim:2");
  c->callback([] { census(o); });
  add_bench_data(*bench);
  add_bench_roofline(*bench);
  add_bench_sass(*bench);
}

}  // namespace

void NetworkOptions::apply_to(Device device) {
  work.device = device;
  work.precision = parse_precision(precision, device);
  work.train = mode == "train";
  if (work.size == 0) work.size = gives_masks(work.model) ? 512 : 224;
  if (work.batch == 0) work.batch = 8;
}

void add_network_options(CLI::App& command, NetworkOptions& o) {
  command.add_option("--model", o.work.model, "The network")
      ->required()
      ->check(CLI::IsMember(model_names()));
  command.add_option("--mode", o.mode, "train: forward, loss, backward, AdamW; or infer")
      ->capture_default_str()
      ->check(CLI::IsMember({"train", "infer"}));
  command
      .add_option("--size", o.work.size,
                  "Side of the square image (default 512 for unet, else 224)")
      ->check(in_range<std::int64_t>(1, 8192));
  command.add_option("--batch", o.work.batch, "Images (default 8)")->check(kBatch);
  add_precision_option(command, o.precision);
  command.add_flag("--recompute", o.work.recompute, "Compute activations inside blocks again");
}

THORAX_COMMAND(85, add)
}  // namespace thorax::app
