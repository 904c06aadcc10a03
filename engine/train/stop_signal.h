// A signal asks a run to end at a good moment.
#pragma once

#include <signal.h>

#include <array>

#include "engine/tensor/error.h"

namespace thorax {

// While it lives, the first of these is noted instead of ending the process; a second one of the
// same kind ends it as usual. SIGINT: Ctrl-C. SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU: what schedulers
// send some time before they kill. SIGHUP: the terminal is gone. One that is ignored (nohup) stays
// so. The handlers that were there before come back at the end.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

 private:
  static constexpr std::array kSignals = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU};
  std::array<struct sigaction, kSignals.size()> before_{};
};

// Whether a signal came since the outermost StopSignal began. Long loops that a run calls, such
// as validation, ask it and throw Interrupted.
bool stop_requested();
// The same as a signal; for what is noticed otherwise. Outside of a StopSignal's life it has no
// effect.
void request_stop();

// Thrown by a callback that ended early because stop_requested().
class Interrupted : public Error {
 public:
  Interrupted() : Error("[train] interrupted") {}
};

}  // namespace thorax
