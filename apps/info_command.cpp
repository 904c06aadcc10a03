// `thorax info`: what this build has and where it runs.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "engine/registry/registry.h"
#include "engine/runtime/parallel.h"

namespace thorax::app {
namespace {

void print_info(bool as_json) {
  nlohmann::ordered_json info;
  info["version"] = THORAX_VERSION;
  info["compiler"] = __VERSION__;
  info["threads"] = num_threads();
  info["devices"] = {"cpu"};
  auto& operations = info["operations"] = nlohmann::ordered_json::object();
  for (const ProviderInfo& row : registered_providers())
    operations[row.operation].push_back(fmt::format("{}/{}", name_of(row.device), row.provider));
  if (as_json) {
    fmt::print("{}\n", info.dump(2));
    return;
  }
  fmt::print("thorax {} (g++ {}), {} threads, devices: cpu\n\n{:<20} providers\n", THORAX_VERSION,
             __VERSION__, num_threads(), "operation");
  for (const auto& [operation, providers] : operations.items()) {
    std::string names;
    for (const auto& name : providers) names += name.get<std::string>() + " ";
    fmt::print("{:<20} {}\n", operation, names);
  }
}

void add(CLI::App& root) {
  CLI::App* command =
      root.add_subcommand("info", "What is built in: devices, operations, providers");
  static bool as_json = false;
  command->add_flag("--json", as_json, "Print JSON");
  command->callback([] { print_info(as_json); });
}

}  // namespace
THORAX_COMMAND(90, add)
}  // namespace thorax::app
