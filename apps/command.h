// How a subcommand joins the `thorax` command.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "apps/inference/compute.h"
#include "engine/tensor/dtype.h"

// CLI11 costs every file that includes it three seconds: only those that define options do.
namespace CLI {
class App;
class Option;
}  // namespace CLI

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
  std::string memory_limit;  // of the device, "6G"; empty = none
  std::string providers;     // "conv2d=gemm,..."
  bool autotune = false;
};
void add_compute_options(CLI::App& command, ComputeOptions& options);
void add_autotune_option(CLI::App& command, bool& autotune);
// Applies them: threads, device, its memory limit, provider choices, autotuning. Throws Error
// "[device] ..." for a device that this build or machine lacks, and "[memory] ..." for a limit that
// is no size.
Device apply(const ComputeOptions& options);
// What apply() was given last.
const ComputeOptions& applied_options();
// Chooses kernels by measurement from now on, and says on stderr what a person should know; the
// choices are printed when the program ends. Does nothing the second time.
void start_autotuning();

// Where a network is trained. Throws the errors of parse_precision, and Error "[graph] ..." for a
// graph on the CPU.
Compute training_compute(Device device, const std::string& precision, bool graph);
// --precision for commands that use a trained network.
void add_precision_option(CLI::App& command, std::string& precision);

// "1500", "512K", "64M", "8G" (powers of 1024) in bytes. Throws Error "[memory] ...".
std::size_t parse_bytes(const std::string& text);

}  // namespace thorax::app

// Last line of a subcommand's file; `order` sorts the help text.
#define THORAX_COMMAND(order, add)                                                              \
  namespace {                                                                                   \
  [[maybe_unused]] const bool command_registered = ::thorax::app::register_command(order, add); \
  }
