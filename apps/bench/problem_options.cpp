#include "apps/bench/problem_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "apps/number_checks.h"

namespace thorax::app {
namespace {

bool contains(const std::vector<std::string>& all, const std::string& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

}  // namespace

DType ProblemSelection::activation_dtype() const {
  for (const DType type : {DType::f16, DType::bf16})
    if (name_of(type) == dtype) return type;
  return DType::f32;
}

void add_problem_options(CLI::App& command, ProblemSelection& o) {
  CLI::App* const c = &command;
  std::vector<std::string> names;
  for (const KernelOperation& operation : kernel_operations()) names.emplace_back(operation.name);
  c->add_option("operation", o.operation, "The operation")->required()->check(CLI::IsMember(names));
  c->add_option("--shape", o.problem.shape_text, "Input, batch x height x width x channels");
  c->add_option("--filter", o.problem.filter_text,
                "Filter, out x height x width x in / groups (transposed: in first, out last)");
  const auto extent = in_range<std::int64_t>(1, 65536);
  c->add_option("--stride", o.problem.stride, "In both directions (default 1; pool: --window)")
      ->check(extent);
  c->add_option("--padding", o.problem.padding, "On every side (default 0)")
      ->check(in_range<std::int64_t>(0, 65536));
  c->add_option("--dilation", o.problem.dilation, "In both directions (default 1)")->check(extent);
  c->add_option("--groups", o.problem.groups, "Of channels (default 1)")->check(extent);
  c->add_option("--window", o.problem.window, "Side of pooling's window (default 2)")
      ->check(extent);
  c->add_option("--kind", o.problem.kind, "Of pooling (default max)")
      ->check(CLI::IsMember({"max", "avg"}));
  c->add_option("--factors", o.problem.factors,
                "fuse_multires: how much coarser each branch is than --shape (default 1,2)");
  c->add_option("--dtype", o.dtype, "Of activations and filter (default f32)")
      ->check(CLI::IsMember({"f32", "f16", "bf16"}));
  c->add_option("--pass", o.request.pass,
                "all (default), forward, dgrad, wgrad, or backward where there is one for both");
}

const KernelOperation& find_kernel_operation(const std::string& name) {
  const std::vector<KernelOperation>& all = kernel_operations();
  return *std::find_if(all.begin(), all.end(),
                       [&](const KernelOperation& one) { return one.name == name; });
}

void check_problem(const CLI::App& command, const KernelOperation& operation,
                   const ProblemSelection& o) {
  for (const char* option : kProblemOptions)
    THORAX_CHECK(command.get_option(option)->count() == 0 || contains(operation.options, option),
                 "[problem] {} is nothing of {}, whose problem is --shape{}; leave it out", option,
                 operation.name,
                 operation.options.empty()
                     ? std::string()
                     : fmt::format(" with {}", fmt::join(operation.options, ", ")));
  THORAX_CHECK(o.request.pass == "all" || contains(operation.passes, o.request.pass),
               "[problem] --pass {}: {} has the passes {}, or all", o.request.pass, operation.name,
               fmt::join(operation.passes, ", "));
}

std::vector<KernelPass> own_passes(const KernelOperation& operation, ProblemSelection& o) {
  o.problem.shape = parse_shape("--shape", o.problem.shape_text, 4);
  if (!o.problem.filter_text.empty())
    o.problem.filter = parse_shape("--filter", o.problem.filter_text, 4);
  return operation.own(o.problem, o.request);
}

}  // namespace thorax::app
