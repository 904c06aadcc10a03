// `thorax info`: what this build has and where it runs.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "apps/kernel_table.h"
#include "data/formats/format.h"
#include "data/formats/libpng.h"
#include "engine/io/atomic_file.h"
#include "engine/registry/autotune.h"
#include "engine/registry/op_case.h"
#include "engine/registry/plugins.h"
#include "engine/registry/registry.h"
#include "engine/runtime/device.h"
#include "engine/runtime/missing_device.h"
#include "engine/runtime/parallel.h"
#include "engine/runtime/ptx_devices.h"

namespace thorax::app {
namespace {

nlohmann::ordered_json describe(Device device) {
  const DeviceInfo& info = device_info(device);
  nlohmann::ordered_json json{{"device", to_string(device)}, {"name", info.name}};
  if (device.kind == DeviceKind::cpu) return json;
  json["compute_capability"] = info.compute_capability;
  json["multiprocessors"] = info.multiprocessors;
  json["memory"] = info.memory;
  if (const std::string versions = device_backend(device.kind).versions(); !versions.empty())
    json["versions"] = versions;
  return json;
}

nlohmann::ordered_json describe(const PluginInfo& plugin) {
  nlohmann::ordered_json json{{"plugin", plugin.name},
                              {"file", plugin.file},
                              {"checksum", plugin.checksum},
                              {"providers", nlohmann::ordered_json::array()},
                              {"operations", nlohmann::ordered_json::array()}};
  for (const ProviderInfo& row : registered_providers())
    if (row.plugin == plugin.name)
      json["providers"].push_back(
          fmt::format("{}={} on {}", row.operation, row.provider, name_of(row.device)));
  for (const OpRow& row : op_rows())
    if (plugin_of_op(row.name) == plugin.name) json["operations"].push_back(row.name);
  return json;
}

void print_info(bool as_json) {
  nlohmann::ordered_json info;
  info["version"] = THORAX_VERSION;
  info["compiler"] = __VERSION__;
  info["threads"] = num_threads();
  info["libraries"] = announced_libraries();
  auto& devices = info["devices"] = nlohmann::ordered_json::array();
  for (const Device device : all_devices()) devices.push_back(describe(device));
  nlohmann::ordered_json missing = nlohmann::ordered_json::object();
  for (const DeviceKind kind : {DeviceKind::cuda, DeviceKind::sim})
    if (const std::string why = why_missing(kind); !why.empty())
      missing[std::string(name_of(kind))] = why;
  if (const std::string why = why_no_ptx(); !why.empty()) missing["ptx"] = why;
  info["missing"] = missing;
  auto& formats = info["image_formats"] = nlohmann::ordered_json::array();
  for (const ImageFormat& format : image_formats())
    formats.push_back({{"format", format.name},
                       {"endings", format.endings},
                       {"reader", format.available() ? nlohmann::json(format.reader) : nullptr},
                       {"package", format.package}});
#ifdef THORAX_HTTP_LIBRARY
  info["web_server"] = THORAX_HTTP_LIBRARY;
#else
  info["web_server"] = nullptr;
#endif
#ifdef THORAX_MPI_MODULE
  info["ranks"] = THORAX_MPI_VERSION;
#else
  info["ranks"] = nullptr;
#endif
  info["png_writer"] = png_writer().empty() ? "stb_image_write" : png_writer();
  auto& plugins = info["plugins"] = nlohmann::ordered_json::array();
  for (const PluginInfo& plugin : loaded_plugins()) plugins.push_back(describe(plugin));
  // Providers by operation and kind of device.
  auto& operations = info["operations"] = nlohmann::ordered_json::object();
  for (const DeviceKind kind : {DeviceKind::cpu, DeviceKind::cuda, DeviceKind::sim})
    for (const ProviderInfo& row : registered_providers())
      if (row.device == kind)
        operations[row.operation][std::string(name_of(kind))].push_back(row.provider);
  if (as_json) {
    fmt::print("{}\n", info.dump(2));
    return;
  }
  fmt::print("thorax {} (g++ {}), {} threads\nproviders call {}\n\n{:<8} what it is\n",
             THORAX_VERSION, __VERSION__, num_threads(), fmt::join(announced_libraries(), ", "),
             "device");
  for (const Device device : all_devices()) {
    const DeviceInfo& d = device_info(device);
    fmt::print("{:<8} {}", device_text(device), d.name);
    if (device.kind != DeviceKind::cpu)
      fmt::print(", sm_{}, {} multiprocessors, {:.1f} GiB", d.compute_capability, d.multiprocessors,
                 static_cast<double>(d.memory) / (1 << 30));
    if (device.kind == DeviceKind::cuda) fmt::print(", {}", device_backend(device.kind).versions());
    fmt::print("\n");
  }
  for (const auto& [kind, why] : missing.items())
    fmt::print("{:<8} none: {}\n", kind, why.get<std::string>());
  fmt::print("\n{:<8} {:<28} endings\n", "image", "read by");
  for (const ImageFormat& format : image_formats())
    fmt::print("{:<8} {:<28} {}\n", format.name,
               format.available() ? format.reader : "none: build with " + format.package,
               fmt::join(format.endings, " "));
  fmt::print("PNG files are written by {}\n", info["png_writer"].get<std::string>());
  fmt::print("the web server of thorax serve: {}\n", info["web_server"].is_null()
                                                         ? "none: build with libcpp-httplib-dev"
                                                         : info["web_server"].get<std::string>());
  fmt::print("training by several processes: {}\n", info["ranks"].is_null()
                                                        ? "none: build with libopenmpi-dev"
                                                        : info["ranks"].get<std::string>());
  for (const nlohmann::ordered_json& plugin : plugins) {
    const auto text = [&](const char* key) {
      return fmt::format("{}", fmt::join(plugin.at(key).get<std::vector<std::string>>(), ", "));
    };
    fmt::print("\nplugin {}, {}\n", plugin.at("plugin").get<std::string>(),
               plugin.at("file").get<std::string>());
    if (!plugin.at("providers").empty()) fmt::print("  adds providers {}\n", text("providers"));
    if (!plugin.at("operations").empty())
      fmt::print("  adds operations of thorax op: {}\n", text("operations"));
  }
  fmt::print("\n{:<18} {:<5} providers\n", "operation", "kind");
  for (const auto& [operation, kinds] : operations.items()) {
    std::string first = operation;
    for (const auto& [kind, names] : kinds.items()) {
      const auto list = names.get<std::vector<std::string>>();
      fmt::print("{:<18} {:<5} {}\n", first, kind, fmt::join(list, " "));
      first.clear();
    }
  }
}

// One table for each device and environment.
void print_choices(const std::string& file, bool as_json) {
  const std::filesystem::path path =
      file.empty() ? autotune_cache_path() : std::filesystem::path(file);
  if (as_json) {
    fmt::print("{}\n", std::filesystem::exists(path) ? read_file(path, 64u << 20) : "null");
    return;
  }
  if (!std::filesystem::exists(path)) {
    fmt::print("{}: nothing was measured yet\n", path.string());
    return;
  }
  std::map<std::pair<std::string, std::string>, std::vector<ProviderChoice>> groups;
  for (ProviderChoice& choice : read_choices(path))
    groups[{choice.device, choice.environment}].push_back(std::move(choice));
  fmt::print("{}\n", path.string());
  for (const auto& [where, choices] : groups)
    fmt::print("\n{} ({})\n{}", where.first, where.second, describe_choices(choices));
}

void add(CLI::App& root) {
  CLI::App* command =
      root.add_subcommand("info", "What is built in: devices, operations, providers");
  static bool as_json = false, kernels = false;
  static std::string choices;
  command->add_flag("--json", as_json, "Print JSON");
  command->add_flag("--kernels", kernels,
                    "Registers, shared memory and occupancy of every CUDA kernel, by architecture");
  static const CLI::Option* const autotune =
      command
          ->add_option("--autotune", choices,
                       "Kernels chosen by measurement: of the cache, or of a run's autotune.json")
          ->expected(0, 1);
  command->callback([] {
    if (autotune->count() > 0) return print_choices(choices, as_json);
    kernels ? print_kernel_table(as_json) : print_info(as_json);
  });
}

}  // namespace
THORAX_COMMAND(90, add)
}  // namespace thorax::app
