#include "engine/train/provenance.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <string_view>

#include "engine/io/atomic_file.h"
#include "engine/io/config.h"
#include "engine/io/file_lock.h"
#include "engine/registry/plugins.h"
#include "engine/registry/registry.h"
#include "engine/runtime/build.h"
#include "engine/runtime/device.h"
#include "engine/runtime/parallel.h"
#include "engine/tensor/error.h"

#ifndef THORAX_VERSION
#define THORAX_VERSION "unknown"
#endif

namespace thorax {
namespace {

using nlohmann::json;

std::string now() {
  const std::time_t time = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

// "swish 0123456789abcdef, ...": a plugin's name may stay while its file changes.
std::string plugins_text() {
  std::string text;
  for (const PluginInfo& plugin : loaded_plugins())
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", plugin.name, plugin.checksum);
  return text;
}

}  // namespace

json provenance(Device device) {
  utsname system{};
  ::uname(&system);
  return {
      {"time", now()},
      {"thorax", THORAX_VERSION},
      {"commit", build_commit()},
      {"compiler", "g++ " __VERSION__},
#ifdef NDEBUG
      {"build", "release"},
#else
      {"build", "debug"},
#endif
      {"system", fmt::format("{} {} {}", system.sysname, system.release, system.machine)},
      {"device", to_string(device)},
      {"device_name", device.kind == DeviceKind::cpu ? processor_name() : device_info(device).name},
      {"processor", processor_name()},
      {"threads", num_threads()},
      {"providers", chosen_providers()},
      {"plugins", plugins_text()},
      {"autotune", autotuning()}};
}

std::string provenance_differences(const json& before, const json& now) {
  if (!before.is_object()) return {};
  std::string text;
  const auto shown = [](const json& entry, const char* key) {
    const auto found = entry.find(key);
    // What read JPEGs before there was a choice.
    if (found == entry.end() && std::string_view(key) == "jpeg_reader")
      return std::string("stb_image");
    if (found == entry.end() && std::string_view(key) == "plugins") return std::string("none");
    if (found == entry.end() || !found->is_string()) return std::string("unknown");
    return found->get<std::string>().empty() ? std::string("none") : found->get<std::string>();
  };
  for (const char* key : {"thorax", "commit", "compiler", "build", "device", "device_name",
                          "providers", "plugins", "jpeg_reader"}) {
    const std::string a = shown(before, key), b = shown(now, key);
    if (a != b) text += fmt::format("{}{} {}, now {}", text.empty() ? "" : "; ", key, a, b);
  }
  return text;
}

namespace {

// Whoever holds it may replace the file.
FileLock history_lock(const std::filesystem::path& file) {
  return FileLock(file.string() + ".lock");
}

bool is_history(const json& document) {
  return document.is_array() && std::all_of(document.begin(), document.end(),
                                            [](const json& start) { return start.is_object(); });
}

}  // namespace

RunHistory::RunHistory(std::filesystem::path file, json entry, const Message& message)
    : file_(std::move(file)), start_(random_digits()) {
  const FileLock lock = history_lock(file_);
  json history = json::array();
  if (std::filesystem::exists(file_)) {
    std::string problem;
    try {
      history = load_json(file_);
      if (!is_history(history)) problem = "is no list of starts";
    } catch (const Error& error) {
      problem = error.what();
    }
    if (!problem.empty()) {
      std::filesystem::path aside = file_;
      aside.replace_filename(fmt::format("{}.bad-{}{}", file_.stem().string(), random_digits(),
                                         file_.extension().string()));
      std::error_code error;
      std::filesystem::rename(file_, aside, error);
      if (error)
        fail("[run] {}: {}; it cannot be kept aside: {}", file_.string(), problem, error.message());
      message(fmt::format("[run] {}: {}; kept as {}, the list of starts begins anew",
                          file_.string(), problem, aside.filename().string()));
      history = json::array();
    }
  }
  if (!history.empty()) previous_ = history.back();
  entry["start"] = start_;
  history.push_back(std::move(entry));
  save_json(file_, history);
}

void RunHistory::note(const std::string& group, const std::string& name, const json& value) const {
  const FileLock lock = history_lock(file_);
  json history = load_json(file_);
  for (json& start : history)
    if (start.is_object() && start.value("start", "") == start_) start[group][name] = value;
  save_json(file_, history);
}

}  // namespace thorax
