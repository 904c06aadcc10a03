// What computed a run, and when: provenance.json.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "engine/tensor/dtype.h"

namespace thorax {

// What is computing: program and library versions, compiler, build type, git commit if known,
// device and its name, processor, threads, time.
nlohmann::json provenance(Device device = {});

// Where two starts differ in what may change a result's last bits (program, compiler, device,
// chosen kernels, plugins, "jpeg_reader" where the caller has entered it), as "device cpu, now sim;
// ..."; empty when nowhere. Threads change no bits.
std::string provenance_differences(const nlohmann::json& before, const nlohmann::json& now);

// A run's provenance.json: one entry per start, and what the run wants to remember that depends on
// time or chance. Several processes of one run may add to it.
class RunHistory {
 public:
  using Message = std::function<void(const std::string&)>;
  // Adds `entry` to the file. One that is no list of starts is kept aside as
  // provenance.bad-<digits>.json, which is told to `message`: nothing that decides a result is in
  // it.
  RunHistory(std::filesystem::path file, nlohmann::json entry, const Message& message);
  // The start before this one; null when this is the first.
  const nlohmann::json& previous() const { return previous_; }
  // Sets entry[group][name] of this start.
  void note(const std::string& group, const std::string& name, const nlohmann::json& value) const;

 private:
  std::filesystem::path file_;
  std::string start_;  // the entry's "start"
  nlohmann::json previous_;
};

}  // namespace thorax
