// Runs a program in a folder of its own and waits for it.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace thorax::reliability {

struct Signal {
  int number;
  std::chrono::milliseconds after;  // the start
};

struct ProcessRequest {
  std::vector<std::string> arguments = {};  // the first is the program's path
  std::filesystem::path folder = {};        // working directory
  std::vector<std::pair<std::string, std::string>> environment = {};  // beside the driver's own
  std::chrono::seconds limit{300};   // then it is killed and has `hung`
  std::vector<Signal> signals = {};  // in the order of time
};

struct ProcessOutcome {
  int exit_code = -1;  // -1: ended by `signal`
  int signal = 0;
  bool hung = false;
  int signals_sent = 0;  // of the request's, to a process that was still there
  std::string output;    // stdout and stderr
  double seconds = 0;
};

// Throws std::runtime_error when it cannot be started.
ProcessOutcome run_process(const ProcessRequest& request);

}  // namespace thorax::reliability
