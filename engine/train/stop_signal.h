// Ctrl-C asks a run to end at a good moment.
#pragma once

#include <signal.h>

#include "engine/tensor/error.h"

namespace thorax {

// While it lives, the first SIGINT or SIGTERM is noted instead of ending the process; a second one
// ends it as usual. The handlers that were there before come back at the end.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

 private:
  struct sigaction interrupt_ {};
  struct sigaction terminate_ {};
};

// Whether a signal came since the outermost StopSignal began. Long loops that a run calls, such
// as validation, ask it and throw Interrupted.
bool stop_requested();

// Thrown by a callback that ended early because stop_requested().
class Interrupted : public Error {
 public:
  Interrupted() : Error("[train] interrupted") {}
};

}  // namespace thorax
