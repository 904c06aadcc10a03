// A tensor that knows how it was computed, and the backward pass over such tensors.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/tensor/tensor.h"

namespace thorax {

class Variable;

// Gradients of a node's inputs, one per input; an undefined tensor where none was asked for.
// grad_output has the shape of the output. needs[i] tells whether input i wants a gradient.
// A returned tensor must be fresh memory, or grad_output itself, or a slice of one of these.
using BackwardFn =
    std::function<std::vector<Tensor>(const Tensor& grad_output, const std::vector<bool>& needs)>;

namespace detail {
struct Node;
struct VariableState {
  Tensor value;
  Tensor grad;
  bool requires_grad = false;
  std::shared_ptr<Node> producer;  // null for a leaf
};
}  // namespace detail

// Copies refer to the same variable (value, gradient, history).
class Variable {
 public:
  Variable() = default;  // undefined, as an absent bias
  // A leaf. Parameters require gradients, data does not.
  explicit Variable(Tensor value, bool requires_grad = false);

  bool defined() const { return state_ != nullptr; }
  const Tensor& value() const;
  const Shape& shape() const { return value().shape(); }
  bool requires_grad() const { return state_ && state_->requires_grad; }
  bool is_leaf() const { return state_ && !state_->producer; }
  // Accumulated gradient of a leaf; undefined before the first backward and after zero_grad.
  const Tensor& grad() const;
  void set_grad(Tensor grad) const;
  void zero_grad() const;
  // Replaces a leaf's value (same shape); history of earlier uses keeps the old one.
  void set_value(Tensor value) const;
  // Same value, no history.
  Variable detach() const;
  bool same_as(const Variable& other) const { return state_ == other.state_; }

  // For the tape itself.
  const std::shared_ptr<detail::VariableState>& state() const { return state_; }

 private:
  std::shared_ptr<detail::VariableState> state_;
};

// Whether operations record nodes on this thread. On by default.
bool grad_enabled();

// Switches recording off (or on) for a scope; inference then keeps no activations.
class GradMode {
 public:
  explicit GradMode(bool enabled);
  ~GradMode();
  GradMode(const GradMode&) = delete;
  GradMode& operator=(const GradMode&) = delete;

 private:
  bool previous_;
};
struct NoGrad : GradMode {
  NoGrad() : GradMode(false) {}
};

// A count that moves whenever parameters may get new values: Variable::set_value, every backward
// pass (an optimizer step follows it), Module::train and Module::load_state_dict. Code that keeps
// something derived from parameters, such as a batch norm folded into a filter, keeps the count
// with it. Whoever writes into a parameter's memory in another way calls parameters_changed().
std::uint64_t parameter_version();
void parameters_changed();

// True while a recomputed block runs for the second time (see recompute.h): operations with side
// effects, such as batch norm's running statistics, must not repeat them.
bool recomputing();

// True when recording is on and one of the inputs requires a gradient: whether an operation has to
// save anything.
bool needs_grad(const std::vector<Variable>& inputs);

// Wraps the value of an operation. When needs_grad(inputs), appends a node that calls `backward`;
// `name` appears in error messages. Undefined inputs are allowed and never need a gradient.
Variable record(std::string name, Tensor value, std::vector<Variable> inputs, BackwardFn backward);

struct BackwardOptions {
  // Keep what the closures saved, so that backward may run again over the same nodes.
  bool retain = false;
};

// Adds d(root)/d(leaf), weighted by `seed` (same shape as root; ones when undefined, then root must
// be a single element), to the gradient of every leaf that requires it. Throws Error "[backward]
// ..." when root has no history, or when it was already walked and freed.
void backward(const Variable& root, const Tensor& seed = {}, BackwardOptions options = {});

// The first node, in the order of computation, whose value is not finite; empty when there is none.
// Walks the recorded history of `root`; to be called before backward frees it.
std::string first_non_finite(const Variable& root);

}  // namespace thorax
