// A tree of named parameters, buffers and submodules.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/autograd/variable.h"

namespace thorax {

// Tensors by name, ordered by name; rank-4 tensors here are in memory order (KRSC). Files keep
// PyTorch's order; io/safetensors.h converts.
using StateDict = std::map<std::string, Tensor>;

struct LoadReport {
  std::vector<std::string> missing;     // in the module, not in the dict
  std::vector<std::string> unexpected;  // in the dict, not in the module
};

// Modules are neither copied nor moved: parents keep pointers to their children.
class Module {
 public:
  Module() = default;
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  struct Named {
    std::string name;  // dotted path, as in PyTorch: "stage2.0.branches.1.0.conv1.weight"
    Variable variable;
  };
  struct NamedBuffer {
    std::string name;
    Tensor tensor;  // shares memory with the module's own
  };
  // Depth first, in order of registration. Parameters without values get them (seed 0).
  std::vector<Named> parameters() const;
  std::vector<NamedBuffer> buffers() const;
  std::int64_t parameter_count() const;

  // Draws the starting values of every parameter that was registered with an Initialiser, from
  // (seed, dotted name), whatever it holds. To be called before training for a seed other than 0.
  void draw_parameters(std::uint64_t seed) const;
  // Every parameter has its values: none is drawn at its first use. For who writes all of them.
  void mark_initialised() const;

  void train(bool on = true);
  void eval() { train(false); }
  bool training() const { return training_; }
  void zero_grad() const;

  // Moves parameters, their gradients and buffers to a device; every tensor that shares their
  // memory moves along. Buffers that host code counts in stay where they are. An optimizer is to be
  // made afterwards, so that its state is there too.
  void to(Device device) const;
  // Where the parameters are; the CPU when there are none. Throws Error when they are on several
  // devices.
  Device device() const;

  // Parameters and buffers by name; the tensors share memory with the module.
  StateDict state_dict() const;
  // Copies values in, from any device. Strict: every name of the module must be present and nothing
  // else, except names that match one of `may_miss` (module only) or `may_ignore` (dict only), each
  // an exact name or a prefix ending in '*'. Everything is checked before anything is copied.
  // Throws Error
  // "[load] ..." listing the offending names and shapes.
  LoadReport load_state_dict(const StateDict& dict, const std::vector<std::string>& may_miss = {},
                             const std::vector<std::string>& may_ignore = {}) const;

 protected:
  // Registers and returns a parameter / buffer / child.
  Variable add_parameter(std::string name, Tensor value);
  // A parameter that draws its own starting values: when parameters are collected, or when ready()
  // is called, of the outermost module above, so that they depend on (seed, dotted name) only.
  // Until then it is NaN; values that are written before stay.
  using Initialiser =
      std::function<void(const Tensor& value, std::uint64_t seed, const std::string& name)>;
  Variable add_parameter(std::string name, const Shape& shape, Initialiser initialiser);
  Tensor add_buffer(std::string name, Tensor value);
  // A buffer that the module reads and writes on the CPU, whatever device computes.
  Tensor add_host_buffer(std::string name, Tensor value);
  void add_module(std::string name, Module& child);
  // Makes a child that this module owns, and registers it: a member
  //   Conv2d& conv1 = make<Conv2d>("conv1", ConvSpec{.in = 1, .out = 8});
  // cannot be forgotten by the optimizer, the state dict or Module::to.
  template <class Child, class... Arguments>
  Child& make(std::string name, Arguments&&... arguments) {
    auto child = std::make_unique<Child>(std::forward<Arguments>(arguments)...);
    Child& result = *child;
    owned_.push_back(std::move(child));
    add_module(std::move(name), result);
    return result;
  }
  // What a layer calls before it computes. Draws values that are not there yet. Throws Error
  // "[module] ..." when gradients are recorded in training mode and the layer belongs to no module
  // nor were its own parameters ever collected: no optimizer could know them.
  void ready() const;

 private:
  template <class Visit>
  void walk(const std::string& prefix, const Visit& visit) const;

  void draw_unset() const;
  [[noreturn]] void fail_unregistered() const;

  struct Parameter {
    std::string name;
    Variable variable;
    Initialiser initialiser;  // empty: registered with values
  };
  std::vector<Parameter> parameters_;
  struct Buffer {
    std::string name;
    Tensor tensor;
    bool on_host = false;
  };
  std::vector<Buffer> buffers_;
  std::vector<std::pair<std::string, Module*>> children_;
  std::vector<std::unique_ptr<Module>> owned_;  // by make
  const Module* parent_ = nullptr;
  mutable std::atomic<bool> unset_{false};      // own parameters wait for their values
  mutable std::atomic<bool> collected_{false};  // parameters() was called
  bool training_ = true;
};

}  // namespace thorax
