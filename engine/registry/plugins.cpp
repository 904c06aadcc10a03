#include "engine/registry/plugins.h"

#include <dlfcn.h>

#include <algorithm>
#include <exception>
#include <functional>
#include <string_view>

#include "engine/io/atomic_file.h"
#include "engine/io/checksum.h"
#include "engine/registry/plugin.h"

namespace thorax {
namespace {

namespace fs = std::filesystem;

struct Plugins {
  std::vector<PluginInfo> loaded;
  std::vector<std::string> failed;  // files whose code has run and whose rows were not kept
  bool opening = false;             // inside dlopen, where nothing may throw
  std::string adding;               // the plugin whose rows are added
  std::vector<void (*)()> waiting;
  std::vector<std::function<void()>> undo;
};

// A function-local static: providers register from static constructors of other files.
Plugins& plugins() {
  static Plugins instance;
  return instance;
}

constexpr std::string_view kBuild = THORAX_PLUGIN_BUILD;
constexpr std::string_view kPrefix = kBuild.substr(0, kBuild.find(' ') + 1);

template <class... Args>
[[noreturn]] void refuse(const fs::path& file, fmt::format_string<Args...> format, Args&&... args) {
  fail("[plugin] {}: {}", file.string(), fmt::format(format, std::forward<Args>(args)...));
}

// Looks at the bytes of the file, since opening it runs code that may rely on classes that are
// different here.
void check_build(const fs::path& file) {
  constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 30;
  const std::string bytes = read_file(file, kMostBytes);
  if (!bytes.starts_with("\x7f"
                         "ELF"))
    refuse(file, "is no shared object; build one with -shared -fPIC (apps/examples/plugin)");
  std::size_t at = bytes.find(kPrefix);
  if (at == bytes.npos)
    refuse(file, "is no plugin of thorax: none of its files has a THORAX_PLUGIN");
  for (; at != bytes.npos; at = bytes.find(kPrefix, at + 1)) {
    const std::string found =
        bytes.substr(at, std::min(bytes.find('\0', at) - at, 2 * kBuild.size()));
    if (found != kBuild)
      refuse(file,
             "was built for {}, this is {}; compile the plugin anew with the headers that are "
             "installed with this program",
             found.substr(kPrefix.size()), kBuild.substr(kPrefix.size()));
  }
}

const PluginEntry& open(const fs::path& file) {
  Plugins& p = plugins();
  p.waiting.clear();
  p.opening = true;
  void* module = nullptr;
  std::string problem;
  try {
    // Never closed, not even after an error: what the plugin has started may still run.
    module = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (module == nullptr) problem = ::dlerror();
  } catch (const std::exception& error) {
    problem = fmt::format("a static constructor throws: {}", error.what());
  } catch (...) {
    problem = "a static constructor throws";
  }
  p.opening = false;
  if (!problem.empty()) {
    // The loader's own messages begin with the file.
    if (const std::string own = file.string() + ": "; problem.starts_with(own))
      problem.erase(0, own.size());
    refuse(file, "cannot be loaded: {}", problem);
  }
  const void* entry = ::dlsym(module, "thorax_plugin_entry");
  // It also looks in the libraries that the file needs, one of which may be a plugin itself.
  Dl_info where{};
  std::error_code error;
  if (entry != nullptr &&
      (::dladdr(entry, &where) == 0 || !fs::equivalent(where.dli_fname, file, error)))
    entry = nullptr;
  if (entry == nullptr)
    refuse(file,
           "does not export thorax_plugin_entry, which THORAX_PLUGIN defines: do not strip or hide "
           "it");
  return *static_cast<const PluginEntry*>(entry);
}

void check_name(const fs::path& file, const char* name) {
  const std::string_view text = name == nullptr ? "" : name;
  constexpr std::string_view kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
  if (text.empty() || text.find_first_not_of(kAllowed) != text.npos)
    refuse(file, "calls itself '{}': a plugin's name is of letters, digits, '_' and '-'", text);
  for (const PluginInfo& other : plugins().loaded)
    if (other.name == text)
      refuse(file, "there is a plugin '{}' already, of {}; name each plugin once", text,
             other.file);
}

// What went wrong; empty when all rows are there.
std::string add_rows(const PluginEntry& entry) {
  Plugins& p = plugins();
  p.undo.clear();
  p.adding = entry.name;
  std::string problem;
  try {
    for (void (*add)() : p.waiting) add();
    entry.add();
    if (p.undo.empty()) problem = "adds no provider and no operation (THORAX_PROVIDER, add_op)";
  } catch (const std::exception& error) {
    problem = error.what();
  } catch (...) {
    problem = "it throws something that is no std::exception";
  }
  p.adding.clear();
  if (!problem.empty())
    for (; !p.undo.empty(); p.undo.pop_back()) p.undo.back()();
  p.waiting.clear();
  p.undo.clear();
  return problem;
}

}  // namespace

namespace detail {

const std::string& adding_plugin() {
  return plugins().adding;
}

void on_plugin_failure(std::function<void()> undo) {
  plugins().undo.push_back(std::move(undo));
}

bool at_start(void (*add)()) {
  if (plugins().opening)
    plugins().waiting.push_back(add);
  else
    add();
  return true;
}

}  // namespace detail

void load_plugin(const fs::path& file) {
  std::error_code error;
  const fs::path found = fs::canonical(file, error);
  if (error) refuse(file, "{}; give the path of a plugin's shared object", error.message());
  for (const PluginInfo& other : plugins().loaded)
    if (other.file == found) refuse(file, "is loaded already; name each plugin once");
  for (const std::string& other : plugins().failed)
    if (other == found)
      refuse(file, "has failed before in this process, and its code does not start twice");
  check_build(found);
  PluginInfo info{{}, found.string(), file_checksum(found)};
  plugins().failed.push_back(info.file);  // until it has succeeded
  const PluginEntry& entry = open(found);
  check_name(file, entry.name);
  info.name = entry.name;
  if (const std::string problem = add_rows(entry); !problem.empty())
    refuse(file, "{}; nothing of the plugin was kept", problem);
  plugins().failed.pop_back();
  plugins().loaded.push_back(std::move(info));
}

std::vector<PluginInfo> loaded_plugins() {
  return plugins().loaded;
}

}  // namespace thorax
