// The subcommands of `thorax bench` that have files of their own, and the options that several
// have.
#pragma once

#include <string>

#include "apps/bench/network_step.h"

namespace CLI {
class App;
}

namespace thorax::app {

void add_bench_data(CLI::App& bench);
void add_bench_roofline(CLI::App& bench);
void add_bench_kernels(CLI::App& bench);
void add_bench_sass(CLI::App& bench);
void add_bench_step(CLI::App& bench);

// What `bench step` times and `bench census` counts.
struct NetworkOptions {
  NetworkWork work;
  std::string precision = "float32", mode = "train";
  // Sets what the options leave to the network, once it is known where it runs.
  void apply_to(Device device);
};
void add_network_options(CLI::App& command, NetworkOptions& options);

}  // namespace thorax::app
