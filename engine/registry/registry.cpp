#include "engine/registry/registry.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "engine/registry/plugins.h"
#include "engine/runtime/device.h"

namespace thorax {
namespace {

struct Tables {
  std::vector<ProviderInfo> providers;
  std::set<std::string, std::less<>> operations;
  std::map<std::string, std::string, std::less<>> choices;
};

// A function-local static: providers register from static constructors of other files.
Tables& tables() {
  static Tables instance;
  return instance;
}

bool exists(std::string_view operation, std::string_view provider) {
  return std::any_of(tables().providers.begin(), tables().providers.end(), [&](const auto& row) {
    return row.operation == operation && (provider.empty() || row.provider == provider);
  });
}

std::string plugins_hint() {
  return loaded_plugins().empty() ? ", and --plugin FILE.so adds those of a plugin" : "";
}

}  // namespace

namespace detail {
void announce_operation(std::string_view operation) {
  const bool added = tables().operations.emplace(operation).second;
  if (adding_plugin().empty()) return;
  THORAX_CHECK(
      added,
      "[plugin] there is an operation '{}' already: a new one needs a name of its own, and "
      "a provider is added to the table of the installed header",
      operation);
  on_plugin_failure([name = std::string(operation)] {
    tables().operations.erase(tables().operations.find(name));
  });
}
void announce_provider(std::string_view operation, std::string_view provider, DeviceKind device,
                       std::function<void()> undo) {
  tables().providers.push_back(
      {std::string(operation), std::string(provider), device, adding_plugin()});
  if (adding_plugin().empty()) return;
  on_plugin_failure([undo = std::move(undo)] {
    tables().providers.pop_back();
    undo();
  });
}
bool can_run(DeviceKind device) {
  return device_count(device) > 0;
}
}  // namespace detail

std::vector<ProviderInfo> registered_providers() {
  std::vector<ProviderInfo> rows = tables().providers;
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) {
    return std::tie(a.operation, a.provider) < std::tie(b.operation, b.provider);
  });
  return rows;
}

void choose_provider(std::string_view operation, std::string_view provider) {
  THORAX_CHECK(exists(operation, {}), "[provider] unknown operation '{}'; thorax info lists them{}",
               operation, plugins_hint());
  THORAX_CHECK(provider.empty() || exists(operation, provider),
               "[provider] operation '{}' has no provider '{}'; thorax info lists them{}",
               operation, provider, plugins_hint());
  tables().choices[std::string(operation)] = std::string(provider);
}

void choose_providers(std::string_view list) {
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    const std::string_view item = list.substr(0, comma);
    list = comma == std::string_view::npos ? std::string_view{} : list.substr(comma + 1);
    const std::size_t equals = item.find('=');
    THORAX_CHECK(equals != std::string_view::npos && equals > 0,
                 "[provider] '{}' is not of the form operation=provider", item);
    const std::string_view operation = item.substr(0, equals);
    const std::string_view provider = item.substr(equals + 1);
    if (operation != "*") {
      choose_provider(operation, provider);
      continue;
    }
    bool any = false;
    for (const ProviderInfo& row : registered_providers()) {
      if (row.provider != provider) continue;
      choose_provider(row.operation, provider);
      any = true;
    }
    THORAX_CHECK(any, "[provider] no operation has a provider '{}'", provider);
  }
}

std::string chosen_provider(std::string_view operation) {
  const auto found = tables().choices.find(operation);
  return found == tables().choices.end() ? std::string() : found->second;
}

std::string chosen_providers() {
  std::string list;
  for (const auto& [operation, provider] : tables().choices)
    if (!provider.empty())
      list += fmt::format("{}{}={}", list.empty() ? "" : ",", operation, provider);
  return list;
}

}  // namespace thorax
