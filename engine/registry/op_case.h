// What `thorax op` runs: operations by name, and one case of one: named tensors and options from a
// file, results for a file. bench/peers/README.md describes the file.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/autograd/variable.h"
#include "engine/tensor/tensor.h"

namespace thorax {

// What an adapter reads its operation's arguments from and writes its results to. Everything given
// must be asked for: finish() refuses names that nobody read.
class OpCase {
 public:
  // `gradients`: arguments require gradients, results are walked backwards. Adapters see the
  // tensors on `device`; results are brought back to the CPU.
  OpCase(std::map<std::string, Tensor> tensors, std::map<std::string, std::string> options,
         bool gradients, Device device = {});

  // A differentiable argument; the second form may be absent (undefined).
  Variable argument(const std::string& name);
  Variable optional_argument(const std::string& name);
  // input0, input1, ... as many as there are.
  std::vector<Variable> numbered_arguments(const std::string& name);
  // A tensor without gradient, e.g. a target; the second form may be absent.
  Tensor tensor(const std::string& name);
  Tensor optional_tensor(const std::string& name);

  // Options; those without a fallback must be given.
  std::int64_t integer(const std::string& name);
  std::int64_t integer(const std::string& name, std::int64_t fallback);
  double number(const std::string& name);
  double number(const std::string& name, double fallback);
  bool flag(const std::string& name, bool fallback);
  std::string text(const std::string& name, const std::string& fallback);

  // A result without gradient.
  void output(const std::string& name, const Tensor& value);
  // The result of a differentiable operation. With gradients, `grad_output` is read (a loss takes
  // 1) and grad.<argument> written for every argument.
  void result(const Variable& value);
  void loss(const Variable& value);

  // Throws Error when a tensor or an option was not used. Gives the results.
  std::map<std::string, Tensor> finish();

 private:
  const std::string* option(const std::string& name);
  void differentiate(const Variable& value, const Tensor& seed);

  std::map<std::string, Tensor> tensors_;
  std::map<std::string, std::string> options_;
  bool gradients_;
  Device device_;
  std::set<std::string> used_tensors_, used_options_;
  std::vector<std::pair<std::string, Variable>> arguments_;
  std::map<std::string, Tensor> results_;
};

// An operation by its name.
struct OpRow {
  const char* name;
  const char* registry;  // whose providers --provider names; empty: there are none
  void (*run)(OpCase&);  // an adapter: asks for what it needs, computes, gives results
};
// Throws Error "[op] ..." when the name is taken or empty, or no function is given. The texts must
// stay valid.
void add_op(const OpRow& row);
// In the order in which they were added.
std::vector<OpRow> op_rows();
// Throws Error "[op] ..." listing the names when there is none.
OpRow find_op(const std::string& name);
// The plugin that added it; empty for the program's own.
std::string plugin_of_op(const std::string& name);

}  // namespace thorax
