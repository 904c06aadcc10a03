#include "engine/train/stop_signal.h"

#include <atomic>

namespace thorax {
namespace {

std::atomic<bool> requested{false};
static_assert(std::atomic<bool>::is_always_lock_free, "used in a signal handler");
int depth = 0;

void note(int) {
  requested.store(true);
}

}  // namespace

StopSignal::StopSignal() {
  if (depth++ == 0) requested.store(false);
  struct sigaction action {};
  action.sa_handler = note;
  action.sa_flags = static_cast<int>(SA_RESETHAND) | SA_RESTART;
  ::sigemptyset(&action.sa_mask);
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    ::sigaction(kSignals[i], nullptr, &before_[i]);
    if (before_[i].sa_handler != SIG_IGN) ::sigaction(kSignals[i], &action, nullptr);
  }
}

StopSignal::~StopSignal() {
  for (std::size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &before_[i], nullptr);
  --depth;
}

bool stop_requested() {
  return requested.load();
}

void request_stop() {
  requested.store(true);
}

}  // namespace thorax
