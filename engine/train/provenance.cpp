#include "engine/train/run_folder.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "engine/io/config.h"
#include "engine/registry/registry.h"
#include "engine/runtime/build.h"
#include "engine/runtime/device.h"
#include "engine/runtime/parallel.h"
#include "engine/tensor/error.h"
#include "engine/train/checkpoint.h"

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
      {"autotune", autotuning()}};
}

RunFolder::RunFolder(std::filesystem::path path, IfExists if_exists, const json& config,
                     std::uint64_t seed, const std::string& data_checksum, Device device)
    : path_(std::move(path)) {
  namespace fs = std::filesystem;
  const fs::path config_path = path_ / "config.json", history_path = path_ / "provenance.json";
  std::error_code error;
  THORAX_CHECK(!fs::exists(path_) || fs::is_directory(path_), "[run] {}: is not a folder",
               path_.string());
  const bool used = fs::exists(path_) && !fs::is_empty(path_);
  const bool is_run = fs::exists(config_path);
  if (used) {
    switch (if_exists) {
      case IfExists::refuse:
        fail("[run] {}: holds {} already; --resume goes on with it, --overwrite replaces it",
             path_.string(), is_run ? "a run" : "files");
      case IfExists::resume: {
        THORAX_CHECK(is_run, "[run] {}: holds files but no run (no config.json)", path_.string());
        // Through text, so that numbers of both sides are of equal kind.
        const std::string different =
            config_differences(load_json(config_path), json::parse(config.dump()));
        THORAX_CHECK(different.empty(),
                     "[run] {}: was written with another configuration and cannot be resumed with "
                     "this one: {}",
                     config_path.string(), different);
        resumed_ = true;
        break;
      }
      case IfExists::overwrite:
        THORAX_CHECK(is_run,
                     "[run] {}: holds files but no run (no config.json); it is not overwritten",
                     path_.string());
        for (const auto& entry : fs::directory_iterator(path_)) {
          // config.json last: a folder half emptied is still known as a run.
          if (entry.path() == config_path) continue;
          fs::remove_all(entry.path(), error);
          if (error) fail("[run] {}: {}", entry.path().string(), error.message());
        }
        break;
    }
  }
  fs::create_directories(path_, error);
  if (error) fail("[run] {}: cannot be created: {}", path_.string(), error.message());
  if (!resumed_) save_json(config_path, config);
  json history = json::array();
  if (resumed_ && fs::exists(history_path)) history = load_json(history_path);
  THORAX_CHECK(history.is_array(), "[run] {}: is not a list of starts", history_path.string());
  json entry = provenance(device);
  entry["seed"] = seed;
  if (!data_checksum.empty()) {
    if (!history.empty() && history.back().is_object() &&
        history.back().value("data_checksum", data_checksum) != data_checksum)
      fail("[run] {}: the data has changed since the run began (checksum {}, now {})",
           path_.string(), history.back().at("data_checksum").dump(), data_checksum);
    entry["data_checksum"] = data_checksum;
  }
  history.push_back(entry);
  save_json(history_path, history);
}

std::filesystem::path RunFolder::fold(int number) const {
  const std::filesystem::path folder = path_ / fmt::format("fold_{}", number);
  std::filesystem::create_directories(folder);
  return folder;
}

std::filesystem::path RunFolder::crossval() const {
  std::filesystem::create_directories(path_ / "crossval");
  return path_ / "crossval";
}

}  // namespace thorax
