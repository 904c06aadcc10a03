// The operations of a forward pass, in the order in which they ran: what a program needs that
// writes a network in another form. Each operation's function reports itself; a thread without a
// Trace pays one load of a thread-local pointer.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/tensor/tensor.h"

namespace thorax {

struct TracedOperation {
  std::string name;            // "conv2d", as in profiles
  std::vector<Tensor> inputs;  // in the order of the operation's function; undefined = absent
  Tensor output;               // may be a channel slice, or join the slices that went in
  nlohmann::json attributes;   // sizes and switches, named as in the operation's problem
};

// Collects the operations of the constructing thread while it lives. The tensors of a trace are
// kept until it ends, so that two different values never have the same address. Traces nest: the
// newest one collects.
class Trace {
 public:
  Trace();
  ~Trace();
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;

  const std::vector<TracedOperation>& operations() const { return operations_; }

 private:
  friend void trace_operation(TracedOperation operation);
  std::vector<TracedOperation> operations_;
  Trace* outer_;
};

namespace detail {
extern thread_local Trace* running_trace;
}
inline bool tracing() {
  return detail::running_trace != nullptr;
}
// To be called by an operation after its forward pass, if tracing().
void trace_operation(TracedOperation operation);

}  // namespace thorax
