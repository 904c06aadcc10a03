// How a subcommand joins the `thorax` command.
#pragma once

#include <CLI/CLI.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace thorax::app {

// Adds the subcommand's options and callback to the root. Callbacks throw thorax::Error to fail.
using AddCommand = void (*)(CLI::App& root);
bool register_command(int order, AddCommand add);

// Exit code of a run that neither failed nor finished (3: stopped after a checkpoint).
void set_exit_code(int code);

// Options that every computing subcommand has.
struct ComputeOptions {
  int threads = 0;  // 0 = all cores
  std::string device = "cpu";
  std::string providers;  // "conv2d=gemm,..."
};
void add_compute_options(CLI::App& command, ComputeOptions& options);
// Applies them: threads, provider choices; an unknown device is an error.
void apply(const ComputeOptions& options);

}  // namespace thorax::app

// Last line of a subcommand's file; `order` sorts the help text.
#define THORAX_COMMAND(order, add)                                                              \
  namespace {                                                                                   \
  [[maybe_unused]] const bool command_registered = ::thorax::app::register_command(order, add); \
  }
