// `thorax op`: one operation, forward and backward, on tensors from a file, so that anyone can hold
// any provider against NumPy or PyTorch. The file convention is described in bench/peers/README.md.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "apps/command.h"
#include "apps/number_checks.h"
#include "apps/op_inputs.h"
#include "engine/io/output_folder.h"
#include "engine/registry/op_case.h"
#include "engine/registry/registry.h"

namespace thorax::app {
namespace {

struct OpOptions {
  std::string name, inputs, output, provider, device = "cpu";
  bool grad = false, autotune = false;
  int threads = 0;
};

// What plugins have to do with the operation: one line each, or nothing.
std::string plugins_part(const OpRow& row, Device device) {
  std::string text;
  if (const std::string plugin = plugin_of_op(row.name); !plugin.empty())
    text += fmt::format("{} is an operation of the plugin {}\n", row.name, plugin);
  const std::string chosen = chosen_provider(row.registry);
  for (const ProviderInfo& info : registered_providers())
    if (!info.plugin.empty() && info.operation == row.registry && info.device == device.kind &&
        (chosen.empty() || chosen == info.provider))
      text += fmt::format("{} is a provider of the plugin {} for {} on {}{}\n", info.provider,
                          info.plugin, info.operation, name_of(info.device),
                          chosen.empty() ? ", and may have been chosen" : "");
  return text;
}

void run(const OpOptions& options) {
  const OpRow row = find_op(options.name);
  const Device device = apply({.threads = options.threads,
                               .device = options.device,
                               .memory_limit = {},
                               .providers = {},
                               .autotune = options.autotune});
  if (options.provider.find('=') != std::string::npos) {
    choose_providers(options.provider);
  } else if (!options.provider.empty()) {
    THORAX_CHECK(*row.registry != 0, "[op] {} has no providers to choose from", row.name);
    choose_provider(row.registry, options.provider);
  }
  const SafetensorsFile file = read_safetensors(options.inputs, FileOrder::pytorch);
  const std::vector<CaseInput> inputs = split_cases(file, options.inputs);
  THORAX_CHECK(!inputs.empty(), "[op] {}: no tensors", options.inputs);
  check_output_file(options.output);
  std::map<std::string, Tensor> results;
  for (const CaseInput& input : inputs) {
    try {
      OpCase one(input.tensors, input.options, options.grad, device);
      row.run(one);
      for (auto& [name, tensor] : one.finish()) results[input.prefix + name] = tensor;
    } catch (const Error& error) {
      fail("[op] {} {}: {}{}", row.name, options.inputs,
           input.prefix.empty() ? "" : input.prefix + " ", error.what());
    }
  }
  write_safetensors(options.output, results, {}, FileOrder::pytorch);
  fmt::print("{}: {} case{}, {} tensors -> {}\n", row.name, inputs.size(),
             inputs.size() == 1 ? "" : "s", results.size(), options.output);
  fmt::print(stderr, "{}", plugins_part(row, device));
}

void add(CLI::App& root) {
  static OpOptions options;
  CLI::App* command = root.add_subcommand(
      "op", "Run one operation, forward and backward, on tensors from a safetensors file");
  std::string names;
  for (const OpRow& row : op_rows()) names += (names.empty() ? "" : ", ") + std::string(row.name);
  command->add_option("name", options.name, "The operation: " + names)->required();
  command
      ->add_option("--inputs", options.inputs,
                   "Tensors in PyTorch's order, options in the metadata; many cases as case<k>/...")
      ->required();
  command->add_option("--output", options.output, "Where the results go")->required();
  command->add_option("--provider", options.provider,
                      "Kernel to use (see thorax info): its name, or operation=name,...");
  add_autotune_option(*command, options.autotune);
  command->add_option("--device", options.device, "Where to compute: cpu, cuda, cuda:1, sim, ptx")
      ->capture_default_str();
  command->add_flag("--grad", options.grad,
                    "Also read grad_output and write grad.<argument> of every argument");
  command->add_option("--threads", options.threads, "Threads to compute with; 0 = all cores")
      ->check(kThreads);
  command->footer(
      "Example:\n"
      "  thorax op conv2d --inputs in.safetensors --output out.safetensors --provider gemm --grad\n"
      "The file convention (names, options, defaults): bench/peers/README.md.");
  command->callback([] { run(options); });
}

}  // namespace
THORAX_COMMAND(80, add)
}  // namespace thorax::app
