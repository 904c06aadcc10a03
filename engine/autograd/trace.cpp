#include "engine/autograd/trace.h"

#include <utility>

namespace thorax {

namespace detail {
thread_local Trace* running_trace = nullptr;
}

Trace::Trace() : outer_(detail::running_trace) {
  detail::running_trace = this;
}

Trace::~Trace() {
  detail::running_trace = outer_;
}

void trace_operation(TracedOperation operation) {
  detail::running_trace->operations_.push_back(std::move(operation));
}

}  // namespace thorax
