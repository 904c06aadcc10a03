// The options that describe an operation's problem on the command line.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "apps/bench/kernel_work.h"

namespace CLI {
class App;
}

namespace thorax::app {

struct ProblemSelection {
  std::string operation, dtype = "f32";
  ProblemOptions problem;
  KernelRequest request;

  DType activation_dtype() const;
};

// What describes a problem beside --shape.
inline constexpr std::array kProblemOptions = {"--filter", "--stride", "--padding", "--dilation",
                                               "--groups", "--window", "--kind",    "--factors"};

// The operation, --shape, kProblemOptions, --dtype and --pass.
void add_problem_options(CLI::App& command, ProblemSelection& selection);
const KernelOperation& find_kernel_operation(const std::string& name);
// Throws Error "[problem] ..." for an option or a pass that the operation does not have.
void check_problem(const CLI::App& command, const KernelOperation& operation,
                   const ProblemSelection& selection);
// The passes of the problem that the options describe.
std::vector<KernelPass> own_passes(const KernelOperation& operation, ProblemSelection& selection);

}  // namespace thorax::app
