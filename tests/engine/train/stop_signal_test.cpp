#include "engine/train/stop_signal.h"

#include <doctest/doctest.h>

using namespace thorax;

namespace {
bool is_default(int signal) {
  struct sigaction now {};
  sigaction(signal, nullptr, &now);
  return now.sa_handler == SIG_DFL;
}
}  // namespace

TEST_CASE("each signal that asks for the end is noted once, and the handlers come back") {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU}) {
    CAPTURE(signal);
    const auto of_doctest = ::signal(signal, SIG_DFL);
    {
      const StopSignal signals;
      CHECK(!stop_requested());
      ::raise(signal);
      CHECK(stop_requested());
      CHECK(is_default(signal));  // a second one ends the process
    }
    CHECK(is_default(signal));
    ::signal(signal, of_doctest);
  }
}

TEST_CASE("a signal that the caller ignores stays ignored, as nohup wants it") {
  const auto of_doctest = ::signal(SIGHUP, SIG_IGN);
  {
    const StopSignal signals;
    ::raise(SIGHUP);
    CHECK(!stop_requested());
    request_stop();
    CHECK(stop_requested());
  }
  ::signal(SIGHUP, of_doctest);
}
