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
  ::sigaction(SIGINT, &action, &interrupt_);
  ::sigaction(SIGTERM, &action, &terminate_);
}

StopSignal::~StopSignal() {
  ::sigaction(SIGINT, &interrupt_, nullptr);
  ::sigaction(SIGTERM, &terminate_, nullptr);
  --depth;
}

bool stop_requested() {
  return requested.load();
}

}  // namespace thorax
