// The `thorax` command: collects the subcommands, maps errors to exit codes.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <exception>
#include <optional>

#include "apps/command.h"
#include "apps/number_checks.h"
#include "engine/registry/registry.h"
#include "engine/runtime/allocator.h"
#include "engine/runtime/device.h"
#include "engine/runtime/parallel.h"
#include "engine/tensor/error.h"

namespace thorax::app {
namespace {

struct Entry {
  int order;
  AddCommand add;
};
std::vector<Entry>& entries() {
  static std::vector<Entry> list;
  return list;
}
int exit_code = 0;

}  // namespace

bool register_command(int order, AddCommand add) {
  entries().push_back({order, add});
  return true;
}

void set_exit_code(int code) {
  exit_code = code;
}

void add_compute_options(CLI::App& command, ComputeOptions& options) {
  command.add_option("--threads", options.threads, "Threads to compute with; 0 = all cores")
      ->check(kNonNegative);
  command
      .add_option("--device", options.device,
                  "Where to compute: cpu, cuda, cuda:1, sim (a simulated GPU); see thorax info")
      ->capture_default_str();
  command.add_option("--memory-limit", options.memory_limit,
                     "Most memory of the device to use, in bytes or as 512M, 6G");
  command.add_option("--provider", options.providers,
                     "Kernels to use, e.g. conv2d=onednn,batch_norm=reference; never falls back");
  add_autotune_option(command, options.autotune);
}

void add_autotune_option(CLI::App& command, bool& autotune) {
  command.add_flag("--autotune", autotune,
                   "Measure the kernels of every new problem and use the fastest; choices are kept "
                   "for later runs (see thorax info --autotune)");
}

void start_autotuning() {
  if (autotuning()) return;
  AutotuneOptions options;
  options.message = [](const std::string& text) { fmt::print(stderr, "{}\n", text); };
  autotune_enable(options);
}

Device apply(const ComputeOptions& options) {
  const Device device = parse_device(options.device);
  // For the whole program: kernels are chosen for this device's architecture.
  static std::optional<DeviceScope> scope;
  scope.emplace(device);
  if (!options.memory_limit.empty()) allocator(device).set_limit(parse_bytes(options.memory_limit));
  if (options.threads > 0) set_num_threads(options.threads);
  choose_providers(options.providers);
  if (options.autotune) start_autotuning();
  return device;
}

DType parse_precision(const std::string& name, Device device) {
  if (name == "float32") return DType::f32;
  THORAX_CHECK(name == "float16" || name == "bfloat16",
               "[precision] '{}' is none of float32, float16, bfloat16", name);
  THORAX_CHECK(device.kind != DeviceKind::cpu,
               "[precision] {} computes on cuda and sim devices, not on the CPU", name);
  return name == "float16" ? DType::f16 : DType::bf16;
}

Compute training_compute(Device device, const std::string& precision, bool graph) {
  THORAX_CHECK(!graph || device.kind != DeviceKind::cpu,
               "[graph] --graph is for cuda and sim devices: the CPU computes at once");
  return {device, parse_precision(precision, device), graph};
}

void add_precision_option(CLI::App& command, std::string& precision) {
  command
      .add_option("--precision", precision,
                  "Type of the activations: float32, or float16 or bfloat16 on a GPU")
      ->capture_default_str()
      ->check(CLI::IsMember({"float32", "float16", "bfloat16"}));
}

std::size_t parse_bytes(const std::string& text) {
  std::size_t value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  const std::string_view suffix(rest, static_cast<std::size_t>(end - rest));
  const std::size_t factor = suffix.empty()                   ? 1
                             : suffix == "K" || suffix == "k" ? std::size_t{1} << 10
                             : suffix == "M" || suffix == "m" ? std::size_t{1} << 20
                             : suffix == "G" || suffix == "g" ? std::size_t{1} << 30
                                                              : 0;
  std::size_t bytes = 0;
  THORAX_CHECK(error == std::errc() && factor != 0 && value > 0 &&
                   !__builtin_mul_overflow(value, factor, &bytes),
               "[memory] '{}' is no size; wanted are bytes, or a number with K, M or G", text);
  return bytes;
}

}  // namespace thorax::app

int main(int argc, char** argv) {
  using namespace thorax::app;
  CLI::App root{"thorax: chest X-rays from images to verdict, on its own deep-learning engine"};
  root.set_version_flag("--version", THORAX_VERSION);
  root.footer("Not for diagnostic use.");
  auto& list = entries();
  std::sort(list.begin(), list.end(),
            [](const Entry& a, const Entry& b) { return a.order < b.order; });
  for (const Entry& entry : list) entry.add(root);
  try {
    root.parse(argc, argv);
    if (root.get_subcommands().empty()) {
      std::fputs(root.help().c_str(), stderr);
      return 2;
    }
  } catch (const CLI::ParseError& error) {
    return root.exit(error) == 0 ? 0 : 2;
  } catch (const thorax::Error& error) {
    std::fprintf(stderr, "thorax: error: %s\n", error.what());
    return 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "thorax: error: %s\n", error.what());
    return 1;
  }
  // On stderr: stdout may be JSON.
  if (thorax::autotuning())
    fmt::print(stderr, "kernels chosen:\n{}", thorax::describe_choices(thorax::provider_choices()));
  return exit_code;
}
