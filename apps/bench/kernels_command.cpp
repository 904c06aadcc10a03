// `thorax bench kernels`: one operation's providers on one problem or a list of them.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/bench/commands.h"
#include "apps/bench/kernel_rows.h"
#include "apps/bench/problem_options.h"
#include "apps/command.h"
#include "apps/number_checks.h"
#include "engine/io/atomic_file.h"
#include "engine/io/json_text.h"
#include "engine/io/output_folder.h"
#include "engine/runtime/ptx_devices.h"

namespace thorax::app {
namespace {

struct Options : ProblemSelection {
  std::string cases, device = "cpu", csv, baseline;
  std::int64_t size = 0, batch = 0;
  int threads = 0, repeats = 11, sampled_blocks = 0;
  double fail_below = 0;
  bool json = false;
};

void check(const CLI::App& command, const KernelOperation& operation, const Options& o) {
  check_problem(command, operation, o);
  if (!o.cases.empty())
    for (const char* option : kProblemOptions)
      THORAX_CHECK(command.get_option(option)->count() == 0,
                   "[bench kernels] {} beside --cases {}: the list has its own; leave one out",
                   option, o.cases);
  THORAX_CHECK(o.problem.shape_text.empty() != o.cases.empty(),
               "[bench kernels] {}: {}; give --shape N x H x W x C, or --cases with one of {}",
               operation.name,
               o.cases.empty() ? "no problem" : "both --shape and --cases, where one is wanted",
               fmt::join(operation.cases, ", "));
  THORAX_CHECK(o.cases.empty() || std::find(operation.cases.begin(), operation.cases.end(),
                                            o.cases) != operation.cases.end(),
               "[bench kernels] --cases {}: {} has no such list; there are {}", o.cases,
               operation.name, fmt::join(operation.cases, ", "));
  THORAX_CHECK(!o.cases.empty() || (o.size == 0 && o.batch == 0),
               "[bench kernels] --size and --batch belong to --cases; --shape {} has both",
               o.problem.shape_text);
  THORAX_CHECK(o.fail_below == 0 || !o.baseline.empty(),
               "[bench kernels] --fail-below {}: below what? Add --baseline FILE", o.fail_below);
}

void run(const CLI::App& command, Options o) {
  const KernelOperation& operation = find_kernel_operation(o.operation);
  check(command, operation, o);
  KernelRequest& request = o.request;
  request.device = apply({.threads = o.threads,
                          .device = o.device,
                          .memory_limit = {},
                          .providers = {},
                          .autotune = false});
  THORAX_CHECK(o.sampled_blocks == 0 || is_ptx(request.device),
               "[bench kernels] --sample-blocks {}: blocks are counted on ptx:N, and the device is "
               "{}; leave it out",
               o.sampled_blocks, device_text(request.device));
  const DeviceScope on(request.device);
  request.dtype = o.activation_dtype();
  if (!o.csv.empty()) check_output_file(o.csv);
  std::unique_ptr<Baseline> baseline;
  if (!o.baseline.empty()) baseline = std::make_unique<Baseline>(o.baseline);
  std::vector<KernelPass> passes;
  if (o.cases.empty()) {
    passes = own_passes(operation, o);
  } else {
    passes = operation.listed(o.cases, o.size, o.batch, request);
  }
  KernelBench bench(request.device, o.repeats, o.sampled_blocks);
  std::vector<KernelRow> rows;
  std::int64_t bad = 0, slower = 0, checked = 0;
  for (const KernelPass& pass : passes) {
    bench.measure(pass, [&](KernelRow row) {
      if (baseline) baseline->compare(row);
      bad += row.bad();
      checked += row.check != "unsupported";
      slower += row.ratio && *row.ratio < o.fail_below;
      if (!o.json) {
        if (rows.empty()) fmt::print("{}\n", kernel_header());
        fmt::print("{}\n", kernel_line(row));
        std::fflush(stdout);
      }
      rows.push_back(std::move(row));
    });
    // After every pass: a list takes its time, and what is measured is not to be lost.
    if (!o.csv.empty()) atomic_write(o.csv, kernel_csv(rows));
  }
  if (o.json) fmt::print("{}\n", dump_json(kernel_json(rows), 2));
  THORAX_CHECK(checked > 0,
               "[bench kernels] {}: {} on {} computes {} in {}; `thorax info` lists the providers "
               "of every device, and 16 bits need a GPU or a simulated one",
               operation.name,
               request.provider == "all" ? "no provider" : "not provider " + request.provider,
               device_text(request.device), o.cases.empty() ? "this" : "any of the list", o.dtype);
  if (baseline && baseline->unmet() > 0)
    fmt::print(stderr, "[bench kernels] {}: {} rows of it were not measured now\n", o.baseline,
               baseline->unmet());
  if (bad > 0)
    fmt::print(stderr, "[bench kernels] {} of {} rows are wrong or failed\n", bad, rows.size());
  if (slower > 0)
    fmt::print(stderr, "[bench kernels] {} rows have less than {} times the speed of {}\n", slower,
               o.fail_below, o.baseline);
  if (bad + slower > 0) set_exit_code(1);
}

}  // namespace

void add_bench_kernels(CLI::App& bench) {
  static Options o;
  std::string lists;
  for (const KernelOperation& operation : kernel_operations())
    lists += fmt::format("\n  {:<17} {}", operation.name, fmt::join(operation.cases, ", "));
  CLI::App* c = bench.add_subcommand(
      "kernels", "Every provider of an operation on a problem: checked, then timed");
  add_problem_options(*c, o);
  c->add_option("--cases", o.cases, "A list of problems in place of --shape; see below");
  c->add_option("--size", o.size, "Side of the images of --cases (default 512 for unet, else 224)")
      ->check(in_range<std::int64_t>(1, 8192));
  c->add_option("--batch", o.batch, "Images of --cases (default 8)")->check(kBatch);
  c->add_option("--provider", o.request.provider,
                "One by name, or all: every one but the reference (default)");
  c->add_option("--device", o.device, "cpu, cuda, sim or ptx; the latter two count and do not time")
      ->capture_default_str();
  c->add_option("--threads", o.threads, "Of the CPU (default: all cores)")->check(kThreads);
  c->add_option("--repeats", o.repeats, "Timed runs of a row (slow ones: 3)")
      ->capture_default_str()
      ->check(in_range<int>(1, 10000));
  c->add_option(
       "--sample-blocks", o.sampled_blocks,
       "On ptx: of each launch count so many blocks for each multiprocessor, scaled up, unchecked")
      ->check(in_range<int>(1, 1000));
  c->add_option("--csv", o.csv, "Write the rows here");
  c->add_flag("--json", o.json, "Print JSON");
  c->add_option("--baseline", o.baseline, "An earlier --csv to compare with: ratios of medians");
  c->add_option("--fail-below", o.fail_below,
                "Exit code 1 when a row has less than so many times the baseline's speed")
      ->check(in_range<double>(0, 1e6));
  c->footer(
      "Example:\n  thorax bench kernels conv2d --shape 2x28x28x32 --filter 32x3x3x32 --padding 1\n"
      "Lists for --cases:" +
      lists);
  c->callback([c] { run(*c, o); });
}

}  // namespace thorax::app
