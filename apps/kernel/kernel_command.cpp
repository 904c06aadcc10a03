// `thorax kernel`: what one block of a kernel does, as a page to play.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>

#include "apps/bench/problem_options.h"
#include "apps/command.h"
#include "apps/kernel/page.h"
#include "apps/kernel_table.h"
#include "apps/number_checks.h"
#include "engine/io/atomic_file.h"
#include "engine/io/output_folder.h"
#include "engine/runtime/device.h"
#include "engine/runtime/ptx_devices.h"

namespace thorax::app {
namespace {

struct Options : ProblemSelection {
  std::string device = "ptx", html, kernel, block = "0,0,0", provider, source = ".";
  std::size_t steps = 20000;
};

sim::Index3 parse_block(const std::string& text) {
  std::array<unsigned, 3> index{};
  const char *at = text.data(), *const end = at + text.size();
  std::size_t count = 0;
  for (bool more = true; more && count < index.size(); ++count) {
    const auto [rest, error] = std::from_chars(at, end, index[count]);
    if (error != std::errc()) break;
    at = rest;
    more = at != end && *at == ',';
    if (more) ++at;
  }
  THORAX_CHECK(at == end && count > 0 && text.back() != ',',
               "[kernel] --block {}: one to three whole numbers from 0 with commas between them "
               "are wanted, x first; for example 3,0,1",
               text);
  return {index[0], index[1], index[2]};
}

// The pass and the provider of it that are wanted, by name or because there is no other.
KernelPass only_pass(const std::vector<KernelPass>& passes, const KernelOperation& operation) {
  THORAX_CHECK(passes.size() == 1,
               "[kernel] {} has several passes; say which by --pass with one of {}", operation.name,
               fmt::join(operation.passes, ", "));
  return passes.front();
}
KernelRun only_run(const KernelPass& pass, const Options& o) {
  std::vector<KernelRun> runs = pass.prepare();
  std::vector<std::string> names;
  for (const KernelRun& run : runs)
    if (run.unsupported.empty()) names.push_back(run.provider);
  THORAX_CHECK(!names.empty(), "[kernel] {} {}: {} on {} computes this in {}", pass.operation,
               pass.shape, o.provider.empty() ? "no provider" : "not provider " + o.provider,
               o.device, o.dtype);
  THORAX_CHECK(names.size() == 1,
               "[kernel] {} {}: several providers compute this; say which by --provider with one "
               "of {}",
               pass.operation, pass.shape, fmt::join(names, ", "));
  return *std::find_if(runs.begin(), runs.end(),
                       [](const KernelRun& run) { return run.unsupported.empty(); });
}

std::uint64_t executed(const ptx::Recording& r) {
  std::uint64_t sum = 0;
  for (const ptx::LineCounts& line : r.counts.lines()) sum += line.executed;
  return sum;
}

std::uint64_t blocks_of(const ptx::Recording& r) {
  return std::uint64_t{r.shape.grid.x} * r.shape.grid.y * r.shape.grid.z;
}

// Of the launches of the pass the one whose name contains --kernel, or that which does the most.
const ptx::Recording& wanted_launch(const ptx::Recorder& recorder, const Options& o) {
  const ptx::Recording* best = nullptr;
  std::vector<std::string> names;
  for (const auto& one : recorder.recordings()) {
    const std::string name = plain_kernel_name(one->program->name);
    names.push_back(name);
    if (name.find(o.kernel) == name.npos) continue;
    if (best == nullptr || executed(*one) * blocks_of(*one) > executed(*best) * blocks_of(*best))
      best = one.get();
  }
  THORAX_CHECK(!names.empty(), "[kernel] --block {}: no launch of this pass has such a block",
               o.block);
  THORAX_CHECK(best != nullptr,
               "[kernel] --kernel {}: this pass launches none of that name with a block {}; with "
               "one it launches {}",
               o.kernel, o.block, fmt::join(names, ", "));
  return *best;
}

std::string command_text(const CLI::App& command, const Options& o) {
  std::string text = "thorax kernel " + o.operation;
  for (const CLI::Option* option : command.get_options())
    if (option->count() > 0 && option->get_name().starts_with("--") &&
        option->get_name() != "--html")
      text += fmt::format(" {} {}", option->get_name(), fmt::join(option->results(), " "));
  return text + " --html FILE";
}

void run(const CLI::App& command, Options o) {
  const KernelOperation& operation = find_kernel_operation(o.operation);
  check_problem(command, operation, o);
  const sim::Index3 block = parse_block(o.block);
  KernelRequest& request = o.request;
  request.device = apply(
      {.threads = 0, .device = o.device, .memory_limit = {}, .providers = {}, .autotune = false});
  THORAX_CHECK(is_ptx(request.device),
               "[kernel] --device {}: a kernel is watched where its PTX is executed; take ptx, "
               "ptx:1 or ptx:2",
               o.device);
  const DeviceScope on(request.device);
  request.dtype = o.activation_dtype();
  if (!o.provider.empty()) request.provider = o.provider;
  check_output_file(o.html);
  const KernelPass pass = only_pass(own_passes(operation, o), operation);
  const KernelRun chosen = only_run(pass, o);
  const ptx::Recorder recorder(block, o.steps);
  chosen.work();
  const ptx::Recording& recording = wanted_launch(recorder, o);
  const DeviceInfo& card = device_info(request.device);
  const std::string page = kernel_page(
      recording,
      {.command = command_text(command, o),
       .problem = fmt::format("{} {} {} {}", pass.operation, pass.pass, pass.shape, chosen.dtype),
       .provider = chosen.provider,
       .device = fmt::format("{}, {}", o.device, card.name),
       .capability = card.compute_capability,
       .source = o.source});
  atomic_write(o.html, page);
  for (const auto& one : recorder.recordings())
    fmt::print("{} {}: {} blocks of {} threads, {} instructions by warps of block {}\n",
               one.get() == &recording ? "*" : " ", plain_kernel_name(one->program->name),
               blocks_of(*one), one->shape.block.x * one->shape.block.y * one->shape.block.z,
               executed(*one), o.block);
  fmt::print("{}: {} steps{}\n", o.html, recording.events.size(),
             recording.left_out == 0
                 ? std::string()
                 : fmt::format(", {} more left out (--steps)", recording.left_out));
}

void add(CLI::App& root) {
  static Options o;
  CLI::App* c = root.add_subcommand(
      "kernel", "One block of a CUDA kernel, step by step, as a page: memory, banks, source");
  add_problem_options(*c, o);
  c->add_option("--provider", o.provider, "Which of the operation's kernels, by name");
  c->add_option("--device", o.device, "ptx (RTX 2070 Super), ptx:1 (A100), ptx:2 (H100)")
      ->capture_default_str();
  c->add_option("--kernel", o.kernel,
                "Of several launches the one whose name contains this (default: which does most)");
  c->add_option("--block", o.block, "Index of the block that is recorded: x,y,z")
      ->capture_default_str();
  c->add_option("--steps", o.steps, "Most steps that the page holds")
      ->capture_default_str()
      ->check(in_range<std::size_t>(1, 1000000));
  c->add_option("--source", o.source,
                "Folder of thorax' sources, where they are not where the PTX says")
      ->capture_default_str();
  c->add_option("--html", o.html, "Write the page here")->required();
  c->footer(
      "Example:\n  thorax kernel conv2d --shape 1x14x14x32 --filter 32x3x3x32 --padding 1 \\\n"
      "    --provider cuda/tiled --pass forward --html tiled.html\n"
      "Needs the kernels' PTX: engine/runtime/ptx/README.md.");
  c->callback([c] { run(*c, o); });
}

}  // namespace
THORAX_COMMAND(86, add)
}  // namespace thorax::app
